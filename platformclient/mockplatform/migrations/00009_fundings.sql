-- +goose Up
-- Money on its way into a main account, whatever its source. user is empty where
-- money came for somebody whom nobody knows: it stands in suspense then.
CREATE TABLE fundings (
    id          TEXT PRIMARY KEY,
    key         TEXT NOT NULL,            -- of the request; of cash and transfers the source's own number
    user        TEXT NOT NULL,
    device      TEXT NOT NULL,
    core        BLOB NOT NULL,            -- FundingCoreHash of the request
    amount      INTEGER NOT NULL,
    kind        TEXT NOT NULL,            -- bank, voucher, cash, transfer
    source      TEXT NOT NULL,            -- as people see it
    source_ref  TEXT NOT NULL DEFAULT '', -- what the source is asked for: binding, serial of the voucher
    bank_serial TEXT NOT NULL DEFAULT '', -- the source's number of the payment, once known
    state       TEXT NOT NULL,
    cause       TEXT NOT NULL DEFAULT '', -- error code of a refusal
    tries       INTEGER NOT NULL DEFAULT 0,
    next        INTEGER NOT NULL DEFAULT 0, -- when the source is asked again; 0: never
    created     INTEGER NOT NULL,
    finished    INTEGER NOT NULL DEFAULT 0,
    receipt     BLOB,
    UNIQUE (user, key)
);
CREATE INDEX fundings_user ON fundings (user, created);
CREATE INDEX fundings_due ON fundings (next) WHERE state IN ('RECEIVED', 'PENDING', 'REVERSING') AND next > 0;
-- A payment of a source is booked once, whoever tells of it how often.
CREATE UNIQUE INDEX fundings_serial ON fundings (kind, bank_serial) WHERE bank_serial <> '';

-- A funding is credited once, whatever the code above believes.
CREATE UNIQUE INDEX postings_funding_once ON postings (order_id, account, type)
    WHERE type IN ('funding-bank', 'funding-voucher', 'funding-cash', 'funding-transfer', 'funding-assigned');

-- Vouchers in batches. Of a PIN only the HMAC under the pepper is kept.
CREATE TABLE voucher_batches (
    batch    TEXT PRIMARY KEY,
    sha256   TEXT NOT NULL, -- of the file's details, as in its trailer
    count    INTEGER NOT NULL,
    sum      INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    imported INTEGER NOT NULL
);
CREATE TABLE vouchers (
    serial  TEXT PRIMARY KEY,
    batch   TEXT NOT NULL REFERENCES voucher_batches (batch),
    value   INTEGER NOT NULL,
    pin_mac BLOB NOT NULL,
    state   TEXT NOT NULL,
    expires INTEGER NOT NULL,
    funding TEXT NOT NULL DEFAULT '', -- what redeemed it
    changed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX vouchers_batch ON vouchers (batch, state);

-- Wrong PINs, per person and per serial, also of serials that do not exist.
CREATE TABLE voucher_wrongs (
    subject TEXT NOT NULL,
    time    INTEGER NOT NULL
);
CREATE INDEX voucher_wrongs_subject ON voucher_wrongs (subject, time);
