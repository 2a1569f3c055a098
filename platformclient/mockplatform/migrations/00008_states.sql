-- +goose Up
-- The state of an account stands in users.state, that of a card in cards.state. Here
-- is what they come from and how long they last. Times are Unix milliseconds; 0: none.
CREATE TABLE account_life (
    user        TEXT PRIMARY KEY REFERENCES users (user),
    since       INTEGER NOT NULL, -- of the present state
    last_active INTEGER NOT NULL, -- last login or renewal of one
    id_check    TEXT NOT NULL DEFAULT '' -- what staff noted when the account became real-name
) WITHOUT ROWID;
CREATE INDEX account_life_active ON account_life (last_active);
INSERT INTO account_life (user, since, last_active)
    SELECT user, created, MAX(created, COALESCE((SELECT MAX(last_used) FROM devices d WHERE d.user = users.user), 0)) FROM users;

-- The reasons that hold an account; several may stand at once.
CREATE TABLE account_holds (
    user   TEXT NOT NULL REFERENCES users (user),
    hold   TEXT NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER NOT NULL DEFAULT 0, -- ends by itself then
    actor  TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (user, hold)
) WITHOUT ROWID;
CREATE INDEX account_holds_due ON account_holds (until) WHERE until > 0;

CREATE TABLE card_life (
    asn     TEXT PRIMARY KEY,
    label   TEXT NOT NULL DEFAULT '',    -- its owner's own word for it
    since   INTEGER NOT NULL DEFAULT 0,  -- of the present state
    until   INTEGER NOT NULL DEFAULT 0,  -- a loss that was only told ends then
    written INTEGER NOT NULL DEFAULT 0   -- when the loss was reported in writing
) WITHOUT ROWID;
CREATE INDEX card_life_due ON card_life (until) WHERE until > 0;

-- A new card in the place of a lost one (补卡). The proven balance of the lost card
-- moves to the main account once, after shops had their time to upload.
CREATE TABLE replacements (
    id      TEXT PRIMARY KEY,
    lost    TEXT NOT NULL UNIQUE REFERENCES cards (asn),
    fresh   TEXT NOT NULL UNIQUE REFERENCES cards (asn),
    user    TEXT NOT NULL REFERENCES users (user),
    since   INTEGER NOT NULL, -- of the loss in writing: the window begins then
    created INTEGER NOT NULL,
    moved   INTEGER NOT NULL DEFAULT 0, -- fen
    closed  INTEGER NOT NULL DEFAULT 0  -- when it moved
);
CREATE INDEX replacements_user ON replacements (user);
