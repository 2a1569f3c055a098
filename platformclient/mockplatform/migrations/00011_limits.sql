-- +goose Up
-- Day limits that a person has set; an empty device is the account.
CREATE TABLE own_limits (
    user    TEXT NOT NULL,
    device  TEXT NOT NULL,
    day_sum INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (user, device)
) WITHOUT ROWID;

-- Whether the issuer knows who holds a card.
ALTER TABLE cards ADD COLUMN named INTEGER NOT NULL DEFAULT 0;

-- Accounts and devices on the grey and the black list. Of a card the list is in cards
-- (grey, state), and the row here says why and until when.
CREATE TABLE lists (
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    standing TEXT NOT NULL,
    cause    TEXT NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER NOT NULL, -- 0: no time ends it
    actor    TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;
INSERT INTO lists (kind, subject, standing, cause, since, until, actor)
    SELECT 'card', asn, 'GREY', 'WRONG_MACS', CAST(strftime('%s', 'now') AS INTEGER) * 1000,
        (CAST(strftime('%s', 'now') AS INTEGER) + 2592000) * 1000, 'platform' FROM cards WHERE grey <> 0;

-- Two persons take a subject off the black list. mark is the hash of how it stood.
CREATE TABLE list_removals (
    id       TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    reason   TEXT NOT NULL,
    proposer TEXT NOT NULL REFERENCES staff (staff),
    second   TEXT NOT NULL DEFAULT '',
    state    TEXT NOT NULL,
    mark     BLOB NOT NULL,
    created  INTEGER NOT NULL,
    closed   INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX list_removals_one_open ON list_removals (kind, subject) WHERE state = 'OPEN';

-- What the velocity rules count.
CREATE TABLE declines (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    user   TEXT NOT NULL,
    device TEXT NOT NULL,
    code   TEXT NOT NULL,
    time   INTEGER NOT NULL
);
CREATE INDEX declines_user ON declines (user, time);
CREATE TABLE device_cards (
    device TEXT NOT NULL,
    day    TEXT NOT NULL,
    asn    TEXT NOT NULL,
    PRIMARY KEY (device, day, asn)
) WITHOUT ROWID;

-- What shops were told. A number stands for one state of the list; the changes that
-- led to it carry it.
CREATE TABLE blacklist_numbers (
    number INTEGER PRIMARY KEY,
    made   INTEGER NOT NULL
);
CREATE TABLE blacklist_changes (
    number INTEGER NOT NULL,
    asn    TEXT NOT NULL,
    listed INTEGER NOT NULL,
    cause  TEXT NOT NULL,
    PRIMARY KEY (asn, number)
) WITHOUT ROWID;
CREATE INDEX blacklist_changes_number ON blacklist_changes (number);
-- What the newest number says.
CREATE TABLE blacklist_told (
    asn   TEXT PRIMARY KEY,
    cause TEXT NOT NULL
) WITHOUT ROWID;

-- Charging records. A reversal has the fee below zero and names what it reverses.
CREATE TABLE cdrs (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL,
    party    TEXT NOT NULL,
    event    TEXT NOT NULL,
    source   TEXT NOT NULL,
    base     INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    fee      INTEGER NOT NULL,
    reverses INTEGER NOT NULL DEFAULT 0,
    day      TEXT NOT NULL,
    time     INTEGER NOT NULL
);
CREATE INDEX cdrs_order ON cdrs (order_id);
CREATE INDEX cdrs_day ON cdrs (day);

-- Statements walk along an account without looking at the rows themselves.
CREATE INDEX postings_statement ON postings (account, id, amount, day, type, order_id);
