-- +goose Up
-- Bank cards of accounts. The number stays at the bank: here are its last four
-- digits, a reference that the bank gives for the card, and the sealed token.
CREATE TABLE bank_bindings (
    id        TEXT PRIMARY KEY,
    "user"    TEXT NOT NULL,
    bank      TEXT NOT NULL,
    bank_name TEXT NOT NULL,
    last4     TEXT NOT NULL,
    card_ref  TEXT NOT NULL DEFAULT '',
    serial    TEXT NOT NULL UNIQUE, -- of the request that began it
    token     BLOB NOT NULL,        -- sealed; empty unless BOUND
    state     TEXT NOT NULL,
    version   INTEGER NOT NULL DEFAULT 0,
    created   INTEGER NOT NULL,
    changed   INTEGER NOT NULL
);
CREATE INDEX bank_bindings_user ON bank_bindings ("user", created);

-- Wrong facts of cards and wrong codes, per person.
CREATE TABLE bank_wrongs (
    "user" TEXT NOT NULL,
    time   INTEGER NOT NULL
);
CREATE INDEX bank_wrongs_user ON bank_wrongs ("user", time);

-- What a funding asks the bank for. Its number is our serial there. The code is
-- sealed, and gone once the bank has decided.
CREATE TABLE bank_asks (
    funding  TEXT PRIMARY KEY,
    bank     TEXT NOT NULL,
    binding  TEXT NOT NULL,            -- empty: an order at the gateway
    card_ref TEXT NOT NULL DEFAULT '',
    code_of  TEXT NOT NULL DEFAULT '',
    code     BLOB NOT NULL,
    day      TEXT NOT NULL
);
CREATE INDEX bank_asks_binding ON bank_asks (binding, day);

-- Money on its way back to a bank card, held until the bank has decided.
CREATE TABLE bank_returns (
    id       TEXT PRIMARY KEY,
    key      TEXT NOT NULL,
    "user"   TEXT NOT NULL,
    binding  TEXT NOT NULL REFERENCES bank_bindings (id),
    core     BLOB NOT NULL,
    amount   INTEGER NOT NULL,
    state    TEXT NOT NULL,
    cause    TEXT NOT NULL DEFAULT '',
    tries    INTEGER NOT NULL DEFAULT 0,
    next     INTEGER NOT NULL DEFAULT 0,
    created  INTEGER NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0,
    UNIQUE ("user", key)
);
CREATE INDEX bank_returns_due ON bank_returns (next) WHERE state = 'PENDING';

-- One question to the bank: the refund of one payment, or (funding empty) a
-- withdrawal. Its serial is the return's number with the leg's.
CREATE TABLE bank_legs (
    serial    TEXT PRIMARY KEY,
    return_id TEXT NOT NULL REFERENCES bank_returns (id),
    funding   TEXT NOT NULL,
    amount    INTEGER NOT NULL,
    state     TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX bank_legs_funding ON bank_legs (funding) WHERE funding <> '';
CREATE INDEX bank_legs_return ON bank_legs (return_id);

-- Statements of banks, line by line, and what did not fit.
CREATE TABLE bank_days (
    bank     TEXT NOT NULL,
    day      TEXT NOT NULL,
    batch    INTEGER NOT NULL,
    lines    INTEGER NOT NULL,
    net      INTEGER NOT NULL,
    imported INTEGER NOT NULL,
    PRIMARY KEY (bank, day)
) WITHOUT ROWID;
CREATE TABLE bank_lines (
    bank    TEXT NOT NULL,
    journal TEXT NOT NULL,
    day     TEXT NOT NULL,
    kind    TEXT NOT NULL,
    serial  TEXT NOT NULL,
    of      TEXT NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (bank, journal)
) WITHOUT ROWID;
CREATE INDEX bank_lines_serial ON bank_lines (serial);
CREATE TABLE bank_differences (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    bank    TEXT NOT NULL,
    day     TEXT NOT NULL,
    kind    TEXT NOT NULL,  -- LONG, SHORT, AMOUNT, KEPT, REVERSED
    serial  TEXT NOT NULL,
    ours    INTEGER NOT NULL,
    theirs  INTEGER NOT NULL,
    done    TEXT NOT NULL,  -- what was done about it
    created INTEGER NOT NULL,
    UNIQUE (bank, kind, serial)
);
