-- +goose Up
-- Users whom the administration made with the demo's well-known credentials: their SMS
-- codes may also be answered with the code of the demo's profile.
ALTER TABLE users ADD COLUMN seeded INTEGER NOT NULL DEFAULT 0;
UPDATE users SET seeded = 1;

-- Which agreement a person accepted, and when.
CREATE TABLE agreements (
    user     TEXT NOT NULL REFERENCES users (user),
    version  TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    PRIMARY KEY (user, version)
) WITHOUT ROWID;

-- Messages to persons, in the order of their making. phone is the number that they go
-- to, whoever has it later. An SMS code is sealed under the key file, and forgotten when
-- it has been used, voided or replaced. delivered is 0 where a channel still has to
-- carry the message.
CREATE TABLE messages (
    seq       INTEGER PRIMARY KEY,
    epoch     INTEGER NOT NULL,
    user      TEXT NOT NULL,
    phone     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    facts     TEXT NOT NULL,
    code_id   TEXT NOT NULL DEFAULT '',
    sealed    BLOB,
    created   INTEGER NOT NULL,
    tries     INTEGER NOT NULL DEFAULT 0,
    next      INTEGER NOT NULL,
    delivered INTEGER NOT NULL
);
CREATE INDEX messages_user ON messages (user, seq);
CREATE INDEX messages_codes ON messages (code_id) WHERE code_id <> '';
CREATE INDEX messages_due ON messages (next) WHERE delivered = 0;
