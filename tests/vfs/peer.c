/* peer.c - another process with a plain SQLite connection. One command a line, one result code a line. */
#include "peer.h"

#include "harness.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int run_command(sqlite3 *db, sqlite3_stmt **held, const char *sql)
{
    if (strncmp(sql, "HOLD ", 5) == 0) {
        int rc = sqlite3_prepare_v2(db, sql + 5, -1, held, NULL);
        return rc == SQLITE_OK && (rc = sqlite3_step(*held)) == SQLITE_ROW ? SQLITE_OK : rc;
    }
    if (strcmp(sql, "LET GO") == 0) {
        int rc = sqlite3_finalize(*held);
        *held = NULL;
        return rc;
    }
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void serve(const char *path, FILE *commands, FILE *results)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len = 0;
    sqlite3 *db = NULL;
    sqlite3_stmt *held = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, "unix");
    fprintf(results, "%d\n", rc);
    fflush(results);
    while (rc == SQLITE_OK && (len = getline(&line, &capacity, commands)) > 0) {
        line[len - 1] = 0;
        fprintf(results, "%d\n", run_command(db, &held, line));
        fflush(results);
    }
    sqlite3_finalize(held);
    sqlite3_close(db);
    _exit(0);
}

static int read_result(const struct peer *peer)
{
    char text[16] = "";
    size_t len = 0;
    while (len + 1 < sizeof text && read(peer->results, text + len, 1) == 1 && text[len] != '\n')
        len++;
    ck_assert_msg(text[len] == '\n', "the other process died");
    return atoi(text);
}

void peer_start(struct peer *out, const char *path)
{
    int commands[2], results[2];
    ck_assert_int_eq(pipe(commands), 0);
    ck_assert_int_eq(pipe(results), 0);
    out->pid = fork();
    ck_assert_int_ge(out->pid, 0);
    if (out->pid == 0) {
        close(commands[1]);
        close(results[0]);
        serve(path, fdopen(commands[0], "r"), fdopen(results[1], "w"));
    }
    close(commands[0]);
    close(results[1]);
    out->commands = commands[1];
    out->results = results[0];
    ck_assert_int_eq(read_result(out), SQLITE_OK);
}

int peer_run(struct peer *peer, const char *sql)
{
    size_t len = strlen(sql);
    ck_assert_int_eq(write(peer->commands, sql, len), (ssize_t)len);
    ck_assert_int_eq(write(peer->commands, "\n", 1), 1);
    return read_result(peer);
}

void peer_must(struct peer *peer, const char *sql)
{
    int rc = peer_run(peer, sql);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, sqlite3_errstr(rc));
}

static void wait_for(struct peer *peer)
{
    close(peer->commands);
    close(peer->results);
    ck_assert_int_eq(waitpid(peer->pid, NULL, 0), peer->pid);
}

void peer_stop(struct peer *peer)
{
    wait_for(peer);
}

void peer_kill(struct peer *peer)
{
    ck_assert_int_eq(kill(peer->pid, SIGKILL), 0);
    wait_for(peer);
}
