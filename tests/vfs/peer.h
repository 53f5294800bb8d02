/* peer.h - another process with a plain SQLite connection, told what to run. */
#ifndef BOUGH_TESTS_PEER_H
#define BOUGH_TESTS_PEER_H

#include <sys/types.h>

struct peer {
    pid_t pid;
    int commands, results;
};

/* Opens (and makes) the database in a process of its own: by the system's VFS, or by another that a URI names. */
void peer_start(struct peer *out, const char *path);
/* SQLite's result code of running the SQL there. "HOLD ..." is stepped once and kept open until "LET GO". */
int peer_run(struct peer *peer, const char *sql);
/* The same, and it must succeed. */
void peer_must(struct peer *peer, const char *sql);
void peer_stop(struct peer *peer); /* closes the connection */
void peer_kill(struct peer *peer); /* SIGKILL */

#endif
