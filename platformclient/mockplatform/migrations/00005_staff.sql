-- +goose Up
CREATE TABLE staff (
    staff        TEXT PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    role         TEXT NOT NULL,
    state        TEXT NOT NULL,
    salt         BLOB NOT NULL,
    hash         BLOB NOT NULL,
    fails        INTEGER NOT NULL DEFAULT 0,
    locked_until INTEGER NOT NULL DEFAULT 0,
    created      INTEGER NOT NULL
);

-- Sessions of staff, apart from those of customers. Only hashes of tokens are kept.
CREATE TABLE staff_tokens (
    hash       BLOB PRIMARY KEY,
    staff      TEXT NOT NULL REFERENCES staff (staff),
    thumbprint TEXT NOT NULL,
    public_key BLOB NOT NULL,
    expires    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX staff_tokens_key ON staff_tokens (thumbprint);

-- A decision of two persons. mark is the hash of the order as the first one saw it.
CREATE TABLE proposals (
    id        TEXT PRIMARY KEY,
    order_id  TEXT NOT NULL,
    target    TEXT NOT NULL,
    reason    TEXT NOT NULL,
    proposer  TEXT NOT NULL REFERENCES staff (staff),
    second    TEXT NOT NULL DEFAULT '',
    state     TEXT NOT NULL,
    mark      BLOB NOT NULL,
    created   INTEGER NOT NULL,
    closed    INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX proposals_one_open_per_order ON proposals (order_id) WHERE state = 'OPEN';

-- Which companion belongs to which phone number. A revoked one stays here, so that
-- its history does.
CREATE TABLE companions (
    serial  TEXT PRIMARY KEY,
    phone   TEXT NOT NULL,
    state   TEXT NOT NULL,
    changed INTEGER NOT NULL
);
CREATE INDEX companions_phone ON companions (phone, state);
INSERT INTO companions (serial, phone, state, changed)
    SELECT companion, MIN(phone), 'REGISTERED', MIN(created) FROM users WHERE companion <> '' GROUP BY companion;

-- Wallet services that are closed; the empty phone number is all of them.
CREATE TABLE closed_services (
    phone  TEXT PRIMARY KEY,
    since  INTEGER NOT NULL,
    staff  TEXT NOT NULL,
    reason TEXT NOT NULL
);
