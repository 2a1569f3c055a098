-- +goose Up
CREATE TABLE merchants (
    name       TEXT PRIMARY KEY,
    public_key BLOB NOT NULL,
    thumbprint TEXT NOT NULL, -- of public_key; empty: no HTTP side
    created    INTEGER NOT NULL
);
CREATE UNIQUE INDEX merchants_key ON merchants (thumbprint) WHERE thumbprint <> '';

-- What is for sale. user and asn are set where only one person and card may pay:
-- the return of a purse's balance.
CREATE TABLE merchant_orders (
    code     TEXT PRIMARY KEY,
    merchant TEXT NOT NULL,
    goods    TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    callback TEXT NOT NULL,
    unload   INTEGER NOT NULL DEFAULT 0,
    user     TEXT NOT NULL DEFAULT '',
    asn      TEXT NOT NULL DEFAULT '',
    state    TEXT NOT NULL,
    purchase TEXT NOT NULL DEFAULT '', -- the purchase that holds or paid it
    expires  INTEGER NOT NULL,
    created  INTEGER NOT NULL
);
CREATE INDEX merchant_orders_merchant ON merchant_orders (merchant, created);

-- Neither MAC1 nor MAC2 stands here: they are computed from random and keys.
CREATE TABLE purchases (
    id              TEXT PRIMARY KEY,
    key             TEXT NOT NULL,
    user            TEXT NOT NULL,
    device          TEXT NOT NULL,
    asn             TEXT NOT NULL,
    profile         TEXT NOT NULL,
    merchant_order  TEXT NOT NULL,
    merchant        TEXT NOT NULL,
    goods           TEXT NOT NULL,
    amount          INTEGER NOT NULL,
    unload          INTEGER NOT NULL,
    state           TEXT NOT NULL,
    cause           TEXT NOT NULL DEFAULT '',
    evidence        TEXT NOT NULL DEFAULT '',
    terminal        TEXT NOT NULL,
    terminal_serial INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    random          BLOB NOT NULL,
    claimed         INTEGER NOT NULL, -- balance as INITIALIZE FOR PURCHASE claimed it
    card_time       INTEGER NOT NULL,
    probe_tid       TEXT NOT NULL,
    probe_epoch     INTEGER NOT NULL,
    unopened        INTEGER NOT NULL DEFAULT 0, -- the card's balance was not known when it was authorised
    restored        INTEGER NOT NULL DEFAULT 0, -- the books may lack loads of this card
    floor_seq       INTEGER NOT NULL,
    tac             BLOB,                       -- once it has verified
    mac2_seen       INTEGER NOT NULL DEFAULT 0, -- it has verified
    probed          INTEGER NOT NULL DEFAULT 0, -- time of the authenticated balance, 0: none
    balance         INTEGER NOT NULL DEFAULT 0, -- authenticated over the probe
    unexplained     INTEGER NOT NULL DEFAULT 0, -- shadow balance minus balance, then
    wrongs          INTEGER NOT NULL DEFAULT 0,
    proves_bad      INTEGER NOT NULL DEFAULT 0,
    created         INTEGER NOT NULL,
    finished        INTEGER NOT NULL DEFAULT 0,
    receipt         BLOB,
    UNIQUE (user, key)
);
CREATE UNIQUE INDEX purchases_one_open_per_card ON purchases (asn) WHERE state IN ('AUTHORISED', 'DOUBTFUL');
CREATE UNIQUE INDEX purchases_one_open_per_order ON purchases (merchant_order) WHERE state IN ('AUTHORISED', 'DOUBTFUL');
CREATE INDEX purchases_user ON purchases (user, created);
CREATE INDEX purchases_card ON purchases (asn, state);

-- Offline purchases as shops uploaded them. The key is what the TAC covers: the
-- card's number is not.
CREATE TABLE uploads (
    asn             TEXT NOT NULL,
    terminal        TEXT NOT NULL,
    terminal_serial INTEGER NOT NULL,
    amount          INTEGER NOT NULL,
    time            INTEGER NOT NULL,
    tac             BLOB NOT NULL,
    received        INTEGER NOT NULL,
    PRIMARY KEY (asn, terminal, terminal_serial)
) WITHOUT ROWID;

-- What merchants are still to be told.
CREATE TABLE callbacks (
    purchase  TEXT PRIMARY KEY,
    url       TEXT NOT NULL,
    body      BLOB NOT NULL,
    tries     INTEGER NOT NULL DEFAULT 0,
    next      INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX callbacks_due ON callbacks (next) WHERE delivered = 0;
