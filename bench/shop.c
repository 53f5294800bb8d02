/* shop.c - generates the shop: every value is a function of the row's number, so that a size names one database. */
#include "shop.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What one order takes with its entries in three indexes and its share of the users, measured. */
#define BYTES_PER_ORDER 366
#define ORDERS_PER_USER 10

static const char schema[] =
    "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;"
    "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, city TEXT NOT NULL,"
    " created_at TEXT NOT NULL);"
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), status TEXT NOT NULL,"
    " total_cents INTEGER NOT NULL, placed_at TEXT NOT NULL, note TEXT);"
    "BEGIN";

static const char indexes[] = "CREATE INDEX orders_by_user ON orders(user_id);"
                              "CREATE INDEX orders_by_time ON orders(placed_at);"
                              "CREATE INDEX orders_by_status ON orders(status, total_cents);"
                              "COMMIT";

static uint64_t mix(uint64_t n)
{
    uint64_t z = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#define PICK(list, n) (list)[(n) % (sizeof(list) / sizeof((list)[0]))]

/* A moment within the three years from 2023, minutes exact. */
static void write_time(char out[24], uint64_t n)
{
    unsigned month = (unsigned)(n % 36), day = (unsigned)(n / 36 % 28) + 1;
    unsigned minute = (unsigned)(n / 1008 % 1440);
    snprintf(out, 24, "%04u-%02u-%02u %02u:%02u:00", 2023 + month / 12, month % 12 + 1, day, minute / 60, minute % 60);
}

static int insert_user(sqlite3_stmt *statement, uint64_t id)
{
    static const char *const first[] = {"Ada",   "Ben",   "Chioma", "Dmitri", "Elif",
                                        "Farid", "Greta", "Hiro",   "Ines",   "Jun"};
    static const char *const last[] = {"Abe", "Brandt", "Costa", "Diallo", "Ek", "Fischer", "Garcia", "Hansen", "Ito"};
    static const char *const city[] = {"Accra", "Bergen", "Cusco", "Dresden", "Erbil", "Fukuoka", "Genoa", "Hanoi"};
    char email[64], name[64], time[24];
    uint64_t n = mix(id);
    snprintf(name, sizeof(name), "%s %s", PICK(first, n), PICK(last, n >> 8));
    snprintf(email, sizeof(email), "user%llu@%08llx.example", (unsigned long long)id,
             (unsigned long long)(n & 0xffffffff));
    write_time(time, n >> 16);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)id);
    sqlite3_bind_text(statement, 2, email, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(statement, 3, name, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(statement, 4, PICK(city, n >> 40), -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 5, time, -1, SQLITE_TRANSIENT);
    int rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int insert_order(sqlite3_stmt *statement, uint64_t id, uint64_t user_count)
{
    static const char *const status[] = {"paid", "paid", "paid", "shipped", "shipped", "open", "returned", "cancelled"};
    static const char *const words[] = {"please",  "leave",   "at",     "the",  "door",   "gift",    "wrap",    "ring",
                                        "twice",   "second",  "floor",  "call", "before", "morning", "fragile", "blue",
                                        "invoice", "company", "number", "with", "card",   "evening"};
    char note[640], time[24];
    uint64_t n = mix(id ^ (UINT64_C(1) << 40)), bits = n;
    size_t len = 0, wanted = (size_t)(n >> 52) % 400 + 40;
    while (len < wanted) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const char *word = PICK(words, bits >> 33);
        size_t word_len = strlen(word);
        memcpy(note + len, word, word_len);
        note[len + word_len] = ' ';
        len += word_len + 1;
    }
    write_time(time, n >> 8);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)id);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)(n % user_count) + 1);
    sqlite3_bind_text(statement, 3, PICK(status, n >> 20), -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)((n >> 24) % 50000) + 99);
    sqlite3_bind_text(statement, 5, time, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(statement, 6, note, (int)len, SQLITE_TRANSIENT);
    int rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int fill(sqlite3 *db, uint64_t order_count)
{
    sqlite3_stmt *user = NULL, *order = NULL;
    uint64_t user_count = order_count / ORDERS_PER_USER + 1;
    int rc = sqlite3_prepare_v2(db, "INSERT INTO users VALUES(?,?,?,?,?)", -1, &user, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, "INSERT INTO orders VALUES(?,?,?,?,?,?)", -1, &order, NULL);
    for (uint64_t id = 1; rc == SQLITE_OK && id <= user_count; id++)
        rc = insert_user(user, id);
    for (uint64_t id = 1; rc == SQLITE_OK && id <= order_count; id++)
        rc = insert_order(order, id, user_count);
    sqlite3_finalize(user);
    sqlite3_finalize(order);
    return rc;
}

int shop_make(const char *path, uint64_t size_bytes)
{
    sqlite3 *db = NULL;
    unlink(path);
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = fill(db, size_bytes / BYTES_PER_ORDER + 1);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, indexes, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        fprintf(stderr, "%s: %s\n", path, sqlite3_errmsg(db));
    int closed = sqlite3_close(db);
    return rc != SQLITE_OK ? rc : closed;
}
