-- Times are nanoseconds since 1970 UTC, 0 for none. Flags are 0 or 1.

-- Where downloads came from (a link file, say), so that none is taken twice.
CREATE TABLE origins (
    origin TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE downloads (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,
    link_id           TEXT    NOT NULL,
    link_secret       TEXT    NOT NULL,
    password          TEXT    NOT NULL,
    package_id        TEXT    NOT NULL,
    token             TEXT    NOT NULL,
    package_name      TEXT    NOT NULL,
    sender_email      TEXT    NOT NULL,
    package_size      INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    given_name        TEXT    NOT NULL,
    name              TEXT    NOT NULL,
    name_key          TEXT    NOT NULL UNIQUE,
    state             TEXT    NOT NULL,
    code              TEXT    NOT NULL,
    message           TEXT    NOT NULL,
    recoverable       INTEGER NOT NULL,
    retry_at          INTEGER NOT NULL,
    dst_folder        TEXT    NOT NULL,
    folder            TEXT    NOT NULL,
    final_folder      TEXT    NOT NULL,
    placed            INTEGER NOT NULL,
    listed            INTEGER NOT NULL,
    deleting          INTEGER NOT NULL,
    remove_files      INTEGER NOT NULL,
    file_ids          TEXT,              -- a JSON array; NULL for all files
    no_package_folder INTEGER NOT NULL,
    refuse_quarantine INTEGER NOT NULL,
    publish           TEXT    NOT NULL,
    uid               INTEGER,
    gid               INTEGER,
    priority          INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    completed_at      INTEGER NOT NULL,
    -- Sums over the entries, changed together with them.
    files             INTEGER NOT NULL DEFAULT 0,
    files_done        INTEGER NOT NULL DEFAULT 0,
    files_failed      INTEGER NOT NULL DEFAULT 0,
    bytes             INTEGER NOT NULL DEFAULT 0,
    bytes_done        INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Files and folders of all packages.
CREATE TABLE entries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- inode numbers come from it: never used again
    download    INTEGER NOT NULL,
    parent      INTEGER NOT NULL,           -- entry of the folder; at the root: -download
    dir         INTEGER NOT NULL,
    state       INTEGER NOT NULL,           -- of a file: 0 pending, 1 whole, 2 failed, 3 complete, 4 skipped; of a folder: 3
    shown       INTEGER NOT NULL DEFAULT 0, -- whether the mount has it: a complete file, or a folder with something shown in it
    listed      INTEGER NOT NULL DEFAULT 0, -- of a folder: it is an entry of the package by itself
    filled      INTEGER NOT NULL DEFAULT 0, -- of a folder: there is a file below it that is not skipped
    name        TEXT    NOT NULL,           -- on disk
    key         TEXT,                       -- what tells the name apart from others; NULL if it takes no name (skipped)
    path        TEXT,                       -- of a folder: its whole path on disk; of a skipped file: its folder's
    source      TEXT,                       -- of a file: the cloud's identifier; of a folder: the sender's whole path
    original    TEXT,                       -- of a file: the sender's name if it differs; of a skipped file: the whole path
    size        INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    code        TEXT,
    message     TEXT,
    recoverable INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One name, one entry.
CREATE UNIQUE INDEX entries_name ON entries (parent, key) WHERE key IS NOT NULL;
-- One record of each entry, however often it is listed.
CREATE UNIQUE INDEX entries_source ON entries (download, dir, source);
-- Files, or folders, in the order of the listing.
CREATE INDEX entries_order ON entries (download, dir);
-- What is left to do (or to try again) without a look at what is done.
CREATE INDEX entries_unfinished ON entries (download) WHERE state <= 2 AND dir = 0;
-- What the mount shows, without a look at what it does not show.
CREATE INDEX entries_shown ON entries (parent, name) WHERE shown = 1;

-- What has arrived of files that are not complete.
CREATE TABLE partials (
    download INTEGER NOT NULL,
    entry    INTEGER NOT NULL,
    etag     TEXT    NOT NULL,
    arrived  BLOB    NOT NULL,
    PRIMARY KEY (download, entry)
) STRICT, WITHOUT ROWID;
