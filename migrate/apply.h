/* apply.h - applying and rolling back single migrations on a connection.
 *
 *     bough__session_begin      refuses an open transaction or statement; foreign_keys off; the authorizer
 *       bough__apply, bough__roll_back, inside transactions of the caller's or not
 *     bough__session_end        foreign_keys and authorizer put back
 *
 * A migration that runs inside a transaction has its row stored in the same one. One that is_bare runs first, and the
 * row follows in a transaction of its own, so there may be no transaction open. */
#ifndef BOUGH_MIGRATE_APPLY_H
#define BOUGH_MIGRATE_APPLY_H

#include "run_sql.h"

struct bough__session {
    sqlite3 *db;
    const char *table; /* borrowed; NULL: the default name */
    bool had_foreign_keys;
    struct bough__guard guard;
};

/* BOUGH_REFUSED: a transaction or a statement is open. */
int bough__session_check_idle(sqlite3 *db);
int bough__session_begin(struct bough__session *out, sqlite3 *db, const char *table);
void bough__session_end(struct bough__session *session); /* a session that never began is fine */

/* BEGIN IMMEDIATE, COMMIT, ROLLBACK. */
int bough__session_open_transaction(struct bough__session *session);
int bough__session_commit(struct bough__session *session);
void bough__session_roll_back(struct bough__session *session); /* keeps the message of the failure before it */

/* Applies a defined migration and stores it. A deferred one is made first, and stays as it is: it may be applied again
 * elsewhere. Without an open transaction it makes one for itself, unless up.is_bare; with one, up.is_bare is
 * BOUGH_REFUSED. On failure a transaction that it made is rolled back; one of the caller's is to be rolled back by the
 * caller. What a bare one did before it failed stays. */
int bough__apply(struct bough__session *session, const struct bough__migration *migration);
/* Rolls an applied migration back with the down that the database stored, and removes its row. Transactions as above,
 * by down.is_bare. BOUGH_REFUSED: it has no down. */
int bough__roll_back(struct bough__session *session, const struct bough__migration *applied);
/* Stores an ephemeral migration without running it. */
int bough__store_ephemeral(struct bough__session *session, const struct bough__migration *migration);
/* What is stored of it takes the text that is defined now. */
int bough__replace_ephemeral(struct bough__session *session, const struct bough__migration *applied,
                             const struct bough__migration *defined);
/* Runs ephemeral migrations, after the session's end: on a connection that has no transaction open. What they set for
 * the connection stays. */
int bough__run_ephemeral(sqlite3 *db, struct bough__migration *const *migrations, size_t count);
/* Finds out beforehand whether they can run: in a transaction that is rolled back, or a savepoint in one that is open.
 * What no transaction allows (some PRAGMAs, VACUUM) is not found out. is_elsewhere: they will run on another
 * connection, which may have functions that this one lacks. */
int bough__try_ephemeral(sqlite3 *db, struct bough__migration *const *migrations, size_t count, bool is_elsewhere);

#endif
