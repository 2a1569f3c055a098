-- +goose Up
-- Numbers of cards are found by a keyed hash and kept sealed under the key file.
CREATE TABLE accounts (
    account  TEXT PRIMARY KEY,
    card_mac BLOB NOT NULL UNIQUE,
    sealed   BLOB NOT NULL,
    last4    TEXT NOT NULL,
    credit   INTEGER NOT NULL,
    name     TEXT NOT NULL,
    phone    TEXT NOT NULL,
    created  INTEGER NOT NULL
);
CREATE INDEX accounts_phone ON accounts (phone);

CREATE TABLE partners (
    partner    TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    thumbprint TEXT NOT NULL UNIQUE,
    public_key BLOB NOT NULL
);

-- Only a hash of a token finds its binding.
CREATE TABLE bindings (
    hash    BLOB PRIMARY KEY,
    partner TEXT NOT NULL,
    account TEXT NOT NULL,
    state   TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

-- Every operation that a partner asked for, by the serial that the partner gave it.
CREATE TABLE operations (
    partner  TEXT NOT NULL,
    serial   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    core     BLOB NOT NULL,
    of       TEXT NOT NULL,
    account  TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    refunded INTEGER NOT NULL,
    state    TEXT NOT NULL,
    code     TEXT NOT NULL,
    journal  TEXT NOT NULL,
    token    BLOB NOT NULL,
    code_mac BLOB NOT NULL,
    tries    INTEGER NOT NULL,
    goods    TEXT NOT NULL,
    notify   TEXT NOT NULL,
    ca       BLOB NOT NULL,
    expires  INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    PRIMARY KEY (partner, serial)
) WITHOUT ROWID;
CREATE UNIQUE INDEX operations_journal ON operations (journal) WHERE journal <> '';

-- The ledger: a balance is the sum of an account's postings.
CREATE TABLE postings (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    journal TEXT NOT NULL,
    account TEXT NOT NULL,
    amount  INTEGER NOT NULL,
    partner TEXT NOT NULL,
    kind    TEXT NOT NULL,
    serial  TEXT NOT NULL,
    of      TEXT NOT NULL,
    day     TEXT NOT NULL,
    time    INTEGER NOT NULL
);
CREATE INDEX postings_account ON postings (account, amount);
CREATE INDEX postings_day ON postings (day, partner);

-- Text messages to customers, sealed: they hold codes.
CREATE TABLE messages (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    phone  TEXT NOT NULL,
    of     TEXT NOT NULL,
    sealed BLOB NOT NULL,
    time   INTEGER NOT NULL
);
CREATE INDEX messages_phone ON messages (phone, id);

-- What partners are told of paid orders, until they answer.
CREATE TABLE notices (
    partner   TEXT NOT NULL,
    serial    TEXT NOT NULL,
    url       TEXT NOT NULL,
    ca        BLOB NOT NULL,
    body      TEXT NOT NULL,
    tries     INTEGER NOT NULL,
    next      INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    PRIMARY KEY (partner, serial)
) WITHOUT ROWID;

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
INSERT INTO meta (name, value) VALUES ('journal', 0);
