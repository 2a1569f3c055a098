-- +goose Up
-- The journal: one row for each stage of each order. seq has no holes; hash is
-- SHA-256(hash of the row before || entry), 32 zero bytes before the first row.
CREATE TABLE journal (
    seq      INTEGER PRIMARY KEY,
    key      TEXT NOT NULL,
    stage    TEXT NOT NULL,
    asn      TEXT NOT NULL,
    order_no TEXT NOT NULL,
    tid      TEXT NOT NULL, -- 12 hex digits, empty while there is none
    entry    BLOB NOT NULL, -- canonical JSON
    hash     BLOB NOT NULL
) STRICT;
CREATE INDEX journal_key ON journal (key, seq);
CREATE INDEX journal_tid ON journal (tid, asn) WHERE tid <> '' AND order_no <> '';

-- The newest row of each key, so that open orders are found without a scan.
CREATE TABLE journal_head (
    key       TEXT PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL REFERENCES journal (seq),
    is_final  INTEGER NOT NULL,
    asn       TEXT NOT NULL,
    order_no  TEXT NOT NULL
) STRICT;
CREATE INDEX journal_head_first ON journal_head (first_seq);

-- Results that the platform has not acknowledged. next_ns is Unix time.
CREATE TABLE outbox (
    key     TEXT PRIMARY KEY,
    seq     INTEGER NOT NULL REFERENCES journal (seq),
    tries   INTEGER NOT NULL,
    next_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE receipt (
    order_no TEXT PRIMARY KEY,
    payload  BLOB NOT NULL,
    sig      BLOB NOT NULL,
    kid      TEXT NOT NULL
) STRICT;

-- The newest reading of each card.
CREATE TABLE card (
    asn         TEXT PRIMARY KEY,
    read_ns     INTEGER NOT NULL,
    number      TEXT NOT NULL,
    profile     TEXT NOT NULL,
    aid         BLOB NOT NULL,
    balance     INTEGER NOT NULL,
    valid_from  TEXT NOT NULL,
    valid_until TEXT NOT NULL,
    complete    INTEGER NOT NULL
) STRICT;

-- Records of all readings. kind is 1 for the types that the online counter
-- numbers (01 02 03 07), 2 for those of the offline counter (04 05 06 09), else 0
-- (card dossier section 1.4). time_s is Unix time, NULL where the digits are no
-- date; sort_s then is the time of the nearest dated neighbour.
CREATE TABLE record (
    id       INTEGER PRIMARY KEY,
    asn      TEXT NOT NULL,
    sfi      INTEGER NOT NULL,
    raw      BLOB NOT NULL,
    counter  INTEGER NOT NULL,
    type     INTEGER NOT NULL,
    kind     INTEGER GENERATED ALWAYS AS (CASE WHEN type IN (1, 2, 3, 7) THEN 1 WHEN type IN (4, 5, 6, 9) THEN 2 ELSE 0 END) STORED,
    amount   INTEGER NOT NULL,
    terminal TEXT NOT NULL,
    time_s   INTEGER,
    sort_s   INTEGER NOT NULL,
    problem  TEXT NOT NULL,
    UNIQUE (asn, sfi, raw)
) STRICT;
CREATE INDEX record_sort ON record (sort_s, id);
CREATE INDEX record_card_sort ON record (asn, sort_s, id);
CREATE INDEX record_counter ON record (asn, kind, counter, sort_s, problem);

-- One row that moves whenever a reading brought records, so that what was worked
-- out from them can be kept.
CREATE TABLE history_version (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO history_version (id, version) VALUES (1, 0);

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Secrets, AES-256-GCM under device.key. key_id tells which device.key.
CREATE TABLE secret (
    name   TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL -- nonce || ciphertext || tag
) STRICT;

-- Leased terminal numbers. A used one stays as a row, so that a repeated answer of
-- the platform cannot bring it back.
CREATE TABLE lease (
    tid        TEXT PRIMARY KEY,
    device     TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    used       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX lease_free ON lease (epoch, expires_ns, tid) WHERE used = 0;
