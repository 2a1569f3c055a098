-- +goose Up
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('epoch', '1'), ('order_counter', '0');

CREATE TABLE users (
    user               TEXT PRIMARY KEY,
    phone              TEXT NOT NULL UNIQUE,
    state              TEXT NOT NULL,
    tier               TEXT NOT NULL,
    companion          TEXT NOT NULL,
    login_salt         BLOB NOT NULL,
    login_hash         BLOB NOT NULL,
    login_fails        INTEGER NOT NULL DEFAULT 0,
    login_locked_until INTEGER NOT NULL DEFAULT 0,
    pay_salt           BLOB NOT NULL,
    pay_mac            BLOB NOT NULL,
    pay_wrongs         INTEGER NOT NULL DEFAULT 0,
    pay_wrong_day      TEXT NOT NULL DEFAULT '',
    created            INTEGER NOT NULL
);

CREATE TABLE devices (
    device     TEXT PRIMARY KEY,
    user       TEXT NOT NULL REFERENCES users (user),
    name       TEXT NOT NULL,
    thumbprint TEXT NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    state      TEXT NOT NULL,
    enrolled   INTEGER NOT NULL,
    last_used  INTEGER NOT NULL
);
CREATE INDEX devices_user ON devices (user);

-- Only hashes of tokens are kept.
CREATE TABLE tokens (
    hash    BLOB PRIMARY KEY,
    kind    TEXT NOT NULL,
    device  TEXT NOT NULL REFERENCES devices (device),
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_device ON tokens (device);
CREATE INDEX tokens_expires ON tokens (expires);

CREATE TABLE sms_codes (
    id      TEXT PRIMARY KEY,
    phone   TEXT NOT NULL,
    purpose TEXT NOT NULL,
    mac     BLOB NOT NULL,
    sent    INTEGER NOT NULL,
    tries   INTEGER NOT NULL DEFAULT 0,
    used    INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX sms_codes_phone ON sms_codes (phone, purpose);

-- (seq, hash) pairs of the devices' journals; a conflicting pair is a cloned profile.
CREATE TABLE device_journals (
    device TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    PRIMARY KEY (device, seq)
) WITHOUT ROWID;

CREATE TABLE cards (
    asn           TEXT PRIMARY KEY,
    user          TEXT NOT NULL,
    state         TEXT NOT NULL,
    grey          INTEGER NOT NULL DEFAULT 0,
    type_refused  INTEGER NOT NULL DEFAULT 0,
    profile       TEXT NOT NULL,
    opening       INTEGER,
    floor_seq     INTEGER NOT NULL DEFAULT 0,
    touched_epoch INTEGER NOT NULL DEFAULT 0,
    excess        INTEGER NOT NULL DEFAULT 0,
    wrong_day     TEXT NOT NULL DEFAULT '',
    wrongs        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX cards_user ON cards (user);

-- Card-level keys that were imported, sealed under the key file of this directory.
CREATE TABLE card_keys (
    asn    TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
);

CREATE TABLE leases (
    tid     TEXT PRIMARY KEY,
    device  TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_by TEXT NOT NULL DEFAULT '',
    signed  BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX leases_device ON leases (device, expires);

-- Every terminal number that was ever given to a card, as lease or as probe.
CREATE TABLE card_tids (
    asn     TEXT NOT NULL,
    tid     TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (asn, tid)
) WITHOUT ROWID;

-- Every random that a card showed; the answer tells repetition from replay.
CREATE TABLE card_randoms (
    asn    TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    random BLOB NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (asn, seq, random)
) WITHOUT ROWID;

CREATE TABLE orders (
    id          TEXT PRIMARY KEY,
    key         TEXT NOT NULL,
    user        TEXT NOT NULL,
    device      TEXT NOT NULL,
    asn         TEXT NOT NULL,
    profile     TEXT NOT NULL,
    key_index   INTEGER NOT NULL,
    amount      INTEGER NOT NULL,
    fee         INTEGER NOT NULL,
    source      TEXT NOT NULL,
    state       TEXT NOT NULL,
    cause       TEXT NOT NULL DEFAULT '',
    evidence    TEXT NOT NULL DEFAULT '',
    attempt     INTEGER NOT NULL,
    probe_tid   TEXT NOT NULL,
    probe_epoch INTEGER NOT NULL,
    wrongs      INTEGER NOT NULL DEFAULT 0,
    proves_bad  INTEGER NOT NULL DEFAULT 0,
    created     INTEGER NOT NULL,
    day         TEXT NOT NULL,
    finished    INTEGER NOT NULL DEFAULT 0,
    receipt     BLOB,
    UNIQUE (user, key)
);
CREATE UNIQUE INDEX orders_one_open_per_card ON orders (asn) WHERE state IN ('GRANTED', 'SUSPENSE');
CREATE INDEX orders_user ON orders (user, created);
CREATE INDEX orders_card_day ON orders (asn, day);
CREATE INDEX orders_user_day ON orders (user, day);

-- What an attempt was granted for. MAC2 is sealed under the key file.
CREATE TABLE attempts (
    order_id       TEXT NOT NULL REFERENCES orders (id),
    attempt        INTEGER NOT NULL,
    tid            TEXT NOT NULL,
    seq            INTEGER NOT NULL,
    floor_seq      INTEGER NOT NULL,
    balance_before INTEGER,
    card_time      BLOB NOT NULL,
    tac            BLOB,
    probe_tid      TEXT NOT NULL,
    epoch          INTEGER NOT NULL,
    granted        INTEGER NOT NULL,
    PRIMARY KEY (order_id, attempt)
) WITHOUT ROWID;

-- Compare-and-swap of attempts: what was answered to (order, attempt, probe, intent).
CREATE TABLE attempt_answers (
    order_id TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    probe    TEXT NOT NULL,
    intent   TEXT NOT NULL,
    status   INTEGER NOT NULL,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (order_id, attempt, probe, intent)
) WITHOUT ROWID;

-- The exact bytes of every answer, for the life of the order, sealed because a
-- grant's script holds MAC2.
CREATE TABLE idempotency (
    user    TEXT NOT NULL,
    route   TEXT NOT NULL,
    key     TEXT NOT NULL,
    core    BLOB NOT NULL,
    status  INTEGER NOT NULL,
    sealed  BLOB NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (user, route, key)
) WITHOUT ROWID;

-- The ledger. A balance is the sum of an account's postings and stands nowhere.
CREATE TABLE postings (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    transfer TEXT NOT NULL,
    account  TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    type     TEXT NOT NULL,
    order_id TEXT NOT NULL,
    day      TEXT NOT NULL,
    time     INTEGER NOT NULL
);
CREATE INDEX postings_account ON postings (account, amount);
CREATE INDEX postings_order ON postings (order_id);

CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    time    INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL,
    hash    BLOB NOT NULL
);

CREATE TABLE alarms (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL,
    code    TEXT NOT NULL,
    subject TEXT NOT NULL
);
