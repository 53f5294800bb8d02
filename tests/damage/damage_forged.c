/* damage_forged.c - headers, records and free extents that say impossible things under sums that are right.
 *
 * Sums find accidents. A program with a fault, or somebody who means it, writes a field with its sum: what is read then
 * is refused or leads to pages that fail their own sums, and never to a crash, an endless loop or giant requests for
 * memory. Each field gets each of a few values; then the layer is opened, read and written to, in a process of its own.
 */
#include "harness.h"

#include "bough.h"
#include "codec.h"
#include "digest.h"
#include "error.h"
#include "layer.h"
#include "layer_file.h"
#include "log.h"
#include "os.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 512, LAYER = 2, BULK = 2800, MANY = 1500, MEMORY_MAX = 64 << 20, SECONDS = 60 };
enum { OPENED = 0, REFUSED = 9 };

static struct {
    char base[200], path[256], file[300];
    uint8_t *whole, *bytes; /* of the layer's file: as it was written, and forged */
    size_t len;
    uint64_t key;
    uint64_t opened, refused;
} world;

/* ---- the layer ---- */

static struct bough__space *space;
static struct bough__layer *layer;

static int open_layer(void)
{
    struct bough__layer_owner owner = {.number = LAYER, .branch = "main"};
    int rc = bough__space_open(&space, world.path);
    REQUIRE(rc == BOUGH_OK, "%s", bough_error_message());
    rc = bough__layer_open(&layer, space, &owner);
    if (rc != BOUGH_OK)
        bough__space_close(space);
    return rc;
}

static void close_layer(void)
{
    bough__layer_close(layer);
    bough__space_close(space);
}

static int write_blocks(uint64_t first, uint64_t count, int byte)
{
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    uint8_t page[BLOCK];
    uint64_t number = 0;
    int rc = bough__snapshot_pin(&snapshot, layer);
    if (rc != BOUGH_OK)
        return rc;
    rc = bough__txn_begin(&txn, &snapshot);
    if (rc == BOUGH_OK)
        rc = bough__txn_set_block_size(txn, BLOCK);
    memset(page, byte, sizeof page);
    for (uint64_t block = first; rc == BOUGH_OK && block < first + count; block++)
        rc = bough__txn_write(txn, block, page);
    if (rc == BOUGH_OK)
        rc = bough__txn_commit(txn, BOUGH__DURABLE, &number);
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    return rc;
}

/* Two generations with free extents between them; a log of two chunks. */
static void make_layer(void)
{
    static const char *const folders[] = {"", "/layers", "/nodes", "/run"};
    static const unsigned script[] = {100, 5, BULK, 3, MANY, MANY, 4, 2};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        char folder[300];
        snprintf(folder, sizeof folder, "%s%s", world.path, folders[i]);
        REQUIRE(mkdir(folder, 0700) == 0, "mkdir %s", folder);
    }
    REQUIRE(bough__space_create(world.path, 0600) == BOUGH_OK, "%s", bough_error_message());
    REQUIRE(open_layer() == BOUGH_OK, "%s", bough_error_message());
    world.key = space->store_key;
    for (size_t i = 0; i < COUNT_OF(script); i++)
        REQUIRE(write_blocks(i, script[i], (int)i + 1) == BOUGH_OK, "%s", bough_error_message());
    close_layer();
    world.whole = harness_read_file(world.file, &world.len);
    world.bytes = malloc(world.len);
}

/* ---- what a victim does ---- */

static void *(*real_malloc)(size_t len);
static void *(*real_realloc)(void *old, size_t len);

static void *watched_malloc(size_t len)
{
    REQUIRE(len <= MEMORY_MAX, "%zu bytes are asked for", len);
    return real_malloc(len);
}

static void *watched_realloc(void *old, size_t len)
{
    REQUIRE(len <= MEMORY_MAX, "%zu bytes are asked for", len);
    return real_realloc(old, len);
}

static void read_all(void)
{
    struct bough__snapshot snapshot;
    uint8_t page[BLOCK];
    if (bough__snapshot_pin(&snapshot, layer) != BOUGH_OK)
        return;
    uint64_t count = snapshot.size_bytes / BLOCK;
    for (uint64_t block = 0; block < count && block < 2 * BULK; block += 7) {
        int rc = bough__snapshot_read(&snapshot, block, page, block % 2);
        REQUIRE(rc == BOUGH_OK || rc == BOUGH_CORRUPT, "%s", bough_error_message());
    }
    bough__snapshot_release(&snapshot);
}

static int use(void)
{
    int first = BOUGH_OK;
    for (int round = 0; round < 2; round++) {
        int rc = open_layer();
        if (rc == BOUGH_OK) {
            read_all();
            rc = write_blocks(0, 200, 'n');
            if (rc == BOUGH_OK)
                rc = write_blocks(0, 20, 'm');
            read_all();
            close_layer();
        }
        REQUIRE(rc == BOUGH_OK || rc == BOUGH_CORRUPT || rc == BOUGH_FULL, "%s: %s", bough_code_name(rc),
                bough_error_message());
        first = round == 0 ? rc : first;
    }
    return first == BOUGH_OK ? OPENED : REFUSED;
}

/* must_refuse: nobody may go on with such a layer. */
static void try(const char *what, uint64_t value, bool must_refuse)
{
    char text[200];
    int status = 0;
    snprintf(text, sizeof text, "%s %llu (%#llx)", what, (unsigned long long)value, (unsigned long long)value);
    harness_write_file(world.file, world.bytes, world.len);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SECONDS);
        bough__os.malloc = watched_malloc;
        bough__os.realloc = watched_realloc;
        int code = use();
        fflush(NULL);
        _exit(code);
    }
    REQUIRE(waitpid(pid, &status, 0) == pid, "waitpid");
    REQUIRE(WIFEXITED(status) && (WEXITSTATUS(status) == OPENED || WEXITSTATUS(status) == REFUSED), "%s: status %x",
            text, status);
    REQUIRE(!must_refuse || WEXITSTATUS(status) == REFUSED, "%s: goes unnoticed", text);
    *(WEXITSTATUS(status) == OPENED ? &world.opened : &world.refused) += 1;
}

/* ---- forging ---- */

struct field {
    const char *name;
    unsigned offset, len;
    uint64_t limit; /* from here on it is impossible; 0: any value may be right */
};

static const uint64_t values[] = {0,           1,           513,         8191,      8704,
                                  UINT32_MAX,  1ull << 45,  1ull << 47,  INT64_MAX, UINT64_MAX};

static uint64_t get(const uint8_t *p, unsigned len)
{
    return len == 8 ? bough__get64(p) : bough__get32(p);
}

static void put(uint8_t *p, unsigned len, uint64_t value)
{
    if (len == 8)
        bough__put64(p, value);
    else
        bough__put32(p, (uint32_t)value);
}

/* Every value for the field at p, which `seal` puts under a right sum. */
static void forge(const struct field *field, size_t at, void (*change)(size_t at, const struct field *, uint64_t))
{
    uint64_t old = get(world.whole + at, field->len);
    for (size_t i = 0; i < COUNT_OF(values) + 3; i++) {
        uint64_t value = i < COUNT_OF(values) ? values[i] : old + (i - COUNT_OF(values)) * 2 - 1;
        if (i == COUNT_OF(values) + 2)
            value = old * 2 + 8;
        if (value == old || (field->len == 4 && value > UINT32_MAX))
            continue;
        memcpy(world.bytes, world.whole, world.len);
        change(at, field, value);
        try(field->name, value, field->limit != 0 && value >= field->limit);
    }
}

static void seal_slot(uint8_t *slot)
{
    bough__put64(slot + 504, bough__xxh(slot, 504, world.key ^ ((uint64_t)LAYER << 32 | 0x736c6f74u)));
}

/* In all slots: of the newest generation two are twins. */
static void change_slots(size_t at, const struct field *field, uint64_t value)
{
    for (enum bough__slot_place place = 0; place < BOUGH__SLOT_PLACES; place++) {
        uint8_t *slot = world.bytes + bough__layer_place_offset(place);
        put(slot + field->offset, field->len, value);
        seal_slot(slot);
    }
    (void)at;
}

static const uint8_t *newest_slot(void)
{
    const uint8_t *newest = world.whole + bough__layer_place_offset(0);
    for (enum bough__slot_place place = 1; place < BOUGH__SLOT_PLACES; place++) {
        const uint8_t *slot = world.whole + bough__layer_place_offset(place);
        if (bough__get64(slot) > bough__get64(newest))
            newest = slot;
    }
    return newest;
}

static void forge_slots(void)
{
    const uint64_t limit = BOUGH__NUMBER_LIMIT;
    const struct field fields[] = {
        {"sequence", 0, 8, limit},         {"generation", 8, 8, limit},         {"transaction", 16, 8, limit},
        {"durable transaction", 24, 8, limit}, {"hold", 32, 8, limit},          {"seed", 40, 8, 0},
        {"offset of the log", 48, 8, limit}, {"length of the log", 56, 8, BOUGH__LOG_CHUNK_MAX + 1},
        {"frames", 64, 8, limit},          {"nodes", 72, 8, limit},             {"size of the tree", 80, 8, 1ull << 42},
        {"block size of the tree", 88, 4, 513}, {"file of the top node", 92, 4, 0}, {"top node", 96, 4, 0},
        {"offset of free extents", 136, 8, limit}, {"number of free extents", 144, 8, BOUGH__EXTENTS_MAX + 1},
        {"sum of free extents", 152, 8, 0}};
    REQUIRE(bough__get64(newest_slot() + 144) > 1, "too few free extents to forge");
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        forge(&fields[i], (size_t)(newest_slot() - world.whole) + fields[i].offset, change_slots);
}

/* The list has one sum, which stands in the slots. */
static void change_extent(size_t at, const struct field *field, uint64_t value)
{
    uint64_t offset = bough__get64(newest_slot() + 136), count = bough__get64(newest_slot() + 144);
    put(world.bytes + at, field->len, value);
    uint64_t sum = bough__xxh(world.bytes + offset, count * 16, bough__get64(newest_slot() + 40));
    change_slots(0, &(struct field){.offset = 152, .len = 8}, sum);
}

static void forge_extents(void)
{
    const struct field fields[] = {{"first frame of the first extent", 0, 8, 1ull << 32},
                                   {"frames of the first extent", 8, 8, 1ull << 32},
                                   {"first frame of the second extent", 16, 8, 1ull << 32},
                                   {"frames of the second extent", 24, 8, 1ull << 32}};
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        forge(&fields[i], (size_t)bough__get64(newest_slot() + 136) + fields[i].offset, change_extent);
}

/* Where each record of the log lies. */
struct chain {
    size_t at[32], count;
    uint64_t seed;
};

static struct chain read_chain(void)
{
    struct chain chain = {.seed = bough__get64(newest_slot() + 40)};
    size_t at = (size_t)bough__get64(newest_slot() + 48);
    while (chain.count < COUNT_OF(chain.at) && bough__get32(world.whole + at) == 0x31524c42u) {
        const uint8_t *record = world.whole + at;
        chain.at[chain.count++] = at;
        at = bough__get32(record + 4) == 2 ? (size_t)bough__get64(record + 32) : at + bough__get32(record + 8);
    }
    return chain;
}

static void change_record(size_t at, const struct field *field, uint64_t value)
{
    struct chain chain = read_chain();
    uint64_t seed = chain.seed;
    put(world.bytes + at, field->len, value);
    for (size_t i = 0; i < chain.count; i++) {
        uint8_t *record = world.bytes + chain.at[i];
        size_t len = bough__get32(record + 8), most = world.len - chain.at[i];
        bough__put64(record + 56, 0);
        seed = bough__xxh(record, len < 64 ? 64 : len > most ? most : len, seed);
        bough__put64(record + 56, seed);
    }
}

static void forge_record(const struct chain *chain, size_t i)
{
    bool is_link = bough__get32(world.whole + chain->at[i] + 4) == 2;
    const struct field fields[] = {{"type", 4, 4, 0},
                                   {"length", 8, 4, 0},
                                   {"entries", 12, 4, 0},
                                   {"transaction of a record", 16, 8, is_link ? 0 : BOUGH__NUMBER_LIMIT},
                                   {"durable transaction of a record", 24, 8, is_link ? 0 : BOUGH__NUMBER_LIMIT},
                                   {is_link ? "offset of a chunk" : "size in a record", 32, 8, 1ull << 42},
                                   {is_link ? "length of a chunk" : "fewest blocks", 40, 8, is_link ? 1ull << 33 : 0},
                                   {"block", 64, 8, 1ull << 32},
                                   {"frame", 72, 8, 0},
                                   {"page sum", 80, 8, 0}};
    for (size_t k = 0; k < COUNT_OF(fields) - (is_link ? 3 : 0); k++)
        forge(&fields[k], chain->at[i] + fields[k].offset, change_record);
}

static void forge_log(void)
{
    struct chain chain = read_chain();
    bool has_link = false;
    REQUIRE(chain.count > 3, "%zu records", chain.count);
    for (size_t i = 0; i < chain.count; i++) {
        bool is_link = bough__get32(world.whole + chain.at[i] + 4) == 2;
        has_link |= is_link;
        /* The first, the last, and those around the link. */
        if (i == 0 || i + 1 == chain.count || is_link)
            forge_record(&chain, i);
    }
    REQUIRE(has_link, "the log has one chunk");
    /* A link that leads to itself, or back to the first record. */
    for (size_t i = 0; i < chain.count; i++) {
        if (bough__get32(world.whole + chain.at[i] + 4) != 2)
            continue;
        for (size_t k = 0; k <= i; k += i) {
            const struct field offset = {"a link back to", 32, 8, 0};
            memcpy(world.bytes, world.whole, world.len);
            change_record(chain.at[i] + 32, &offset, chain.at[k]);
            try(offset.name, chain.at[k], true);
        }
    }
}

int main(void)
{
    snprintf(world.base, sizeof world.base, "%s/bough-forged-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(world.base) != NULL, "mkdtemp %s", world.base);
    snprintf(world.path, sizeof world.path, "%s/store", world.base);
    snprintf(world.file, sizeof world.file, "%s/layers/%d.layer", world.path, LAYER);
    make_layer();
    real_malloc = bough__os.malloc;
    real_realloc = bough__os.realloc;
    forge_slots();
    forge_extents();
    forge_log();
    printf("forged: %llu opened, %llu refused\n", (unsigned long long)world.opened, (unsigned long long)world.refused);
    harness_remove_tree(world.base);
    free(world.whole);
    free(world.bytes);
    return EXIT_SUCCESS;
}
