/* test_transfer.c - bytes in and out: init, import, stream; what is stored, what is left when it fails. */
#include "codec.h"
#include "error.h"
#include "faultos.h"
#include "harness.h"
#include "layer_file.h"
#include "os.h"
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a source in memory, with holes ---------------------------------------------------------------------------- */

struct memory {
    uint8_t *bytes;
    size_t len;
    bool has_holes;   /* tells where its zeros are, in steps of 1000 bytes */
    uint64_t fail_at; /* reads that touch this byte fail; 0: none */
    int finish_code;
    uint64_t read_bytes;
};

static int memory_read(void *context, uint64_t offset, void *buffer, size_t len)
{
    struct memory *memory = context;
    ck_assert_uint_le(offset + len, memory->len);
    if (memory->fail_at && offset <= memory->fail_at && memory->fail_at < offset + len)
        return bough__fail(BOUGH_IO, "the source broke");
    memcpy(buffer, memory->bytes + offset, len);
    memory->read_bytes += len;
    return BOUGH_OK;
}

static bool memory_next(void *context, uint64_t offset, uint64_t *out_start, uint64_t *out_end)
{
    struct memory *memory = context;
    for (uint64_t start = offset / 1000 * 1000; start < memory->len; start += 1000) {
        uint64_t end = start + 1000 < memory->len ? start + 1000 : memory->len;
        uint64_t from = start < offset ? offset : start;
        if (from < end && !bough__is_zero(memory->bytes + from, (size_t)(end - from))) {
            *out_start = from;
            *out_end = end;
            return true;
        }
    }
    return false;
}

static int memory_finish(void *context)
{
    struct memory *memory = context;
    return memory->finish_code ? bough__fail(memory->finish_code, "it moved") : BOUGH_OK;
}

static struct bough__source source_of(struct memory *memory, uint32_t page_size)
{
    return (struct bough__source){.size_bytes = memory->len,
                                  .page_size = page_size,
                                  .context = memory,
                                  .read = memory_read,
                                  .next_data = memory->has_holes ? memory_next : NULL,
                                  .finish = memory_finish,
                                  .mode = 0640};
}

/* Random bytes, a third of the pages zero, some of them in long runs. */
static struct memory random_memory(struct harness_random *random, size_t len, size_t page_size)
{
    struct memory memory = {malloc(len + 1), len, harness_below(random, 2), 0, 0, 0};
    harness_fill(random, memory.bytes, len);
    for (size_t at = 0; at < len; at += page_size) {
        size_t run = harness_below(random, 3) ? 0 : page_size * (size_t)(1 + harness_below(random, 40));
        if (run > len - at)
            run = len - at;
        memset(memory.bytes + at, 0, run);
        at += run;
    }
    return memory;
}

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static char *place(const char *name)
{
    return strdup(harness_path(name));
}

static bough_transfer init(const char *store_path, struct memory *memory, uint32_t page_size)
{
    bough_transfer transfer;
    struct bough__source source = source_of(memory, page_size);
    ASSERT_OK(bough__store_init(&transfer, store_path, "/somewhere/shop.db", &source, NULL));
    ck_assert_uint_eq(transfer.size_bytes, memory->len);
    ck_assert_str_eq(transfer.branch, "main");
    return transfer;
}

static bough_store *open_store(const char *path)
{
    bough_store *store = NULL;
    ASSERT_OK(bough_store_open(&store, path, NULL));
    return store;
}

static int import(bough_transfer *out, bough_store *store, struct memory *memory, uint32_t page_size)
{
    struct bough__source source = source_of(memory, page_size);
    return bough__store_import(out, store, "main", &source, NULL);
}

struct sink {
    uint8_t *bytes;
    uint64_t end;
};

static int sink_write(void *context, uint64_t offset, const void *bytes, size_t len)
{
    struct sink *sink = context;
    ck_assert_uint_ge(offset, sink->end); /* in order */
    memcpy(sink->bytes + offset, bytes, len);
    sink->end = offset + len;
    return BOUGH_OK;
}

/* REF's bytes are the memory's. */
static void check_bytes(bough_store *store, const char *ref, const struct memory *memory)
{
    bough_transfer transfer;
    struct sink sink = {calloc(1, memory->len + 1), 0};
    ASSERT_OK(bough__store_stream(&transfer, store, ref, sink_write, &sink, NULL));
    ck_assert_uint_eq(transfer.size_bytes, memory->len);
    if (memory->len)
        ck_assert_mem_eq(sink.bytes, memory->bytes, memory->len);
    ck_assert_uint_eq(strlen(transfer.id), 64);
    ck_assert_uint_eq(strlen(transfer.root), 64);
    bough_transfer_release(&transfer);
    free(sink.bytes);
}

static void check_sound(bough_store *store)
{
    bough_verification verification;
    ASSERT_OK(bough_verify(&verification, store, NULL, NULL));
    if (!verification.ok)
        ck_abort_msg("%s: %s", verification.findings[0].where, verification.findings[0].what);
    bough_verification_release(&verification);
}

static unsigned count_files(const char *folder)
{
    unsigned count = 0;
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry = NULL; (entry = readdir(directory));)
        count += entry->d_name[0] != '.' || (entry->d_name[1] && entry->d_name[1] != '.');
    closedir(directory);
    return count;
}

/* ---- identity -------------------------------------------------------------------------------------------------- */

TEST(what_goes_in_comes_out)
{
    struct harness_random random = {21};
    for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
        static const int odd[] = {0, 1, -1, 100};
        for (size_t i = 0; i < COUNT_OF(odd); i++) {
            char name[32];
            size_t len = page_size * (size_t)(1 + harness_below(&random, 300)) + (size_t)odd[i];
            struct memory memory = random_memory(&random, len, page_size);
            snprintf(name, sizeof name, "s%u-%zu.bough", page_size, i);
            char *path = place(name);
            bough_transfer made = init(path, &memory, page_size);
            bough_store *store = open_store(path);
            check_bytes(store, "main", &memory);
            check_bytes(store, made.id, &memory);
            check_sound(store);
            ck_assert_str_eq(bough_store_origin(store), "/somewhere/shop.db");
            bough_store_close(store);
            bough_transfer_release(&made);
            free(memory.bytes);
            free(path);
        }
    }
}

TEST(an_empty_database)
{
    bough_transfer transfer;
    struct memory nothing = {(uint8_t *)"", 0, false, 0, 0, 0};
    struct harness_random random = {4};
    char *path = place("e.bough");
    bough_transfer made = init(path, &nothing, 4096);
    bough_store *store = open_store(path);
    check_bytes(store, "main", &nothing);
    check_sound(store);
    ck_assert_uint_eq(count_files(harness_path("e.bough/layers")), 0);

    struct memory memory = random_memory(&random, 50000, 1024);
    ASSERT_OK(import(&transfer, store, &memory, 1024));
    ck_assert(transfer.changed);
    bough_transfer_release(&transfer);
    check_bytes(store, "main", &memory);

    ASSERT_OK(import(&transfer, store, &nothing, 4096)); /* and back */
    ck_assert(transfer.changed);
    ck_assert_str_eq(transfer.root, made.root);
    bough_transfer_release(&transfer);
    check_bytes(store, "main", &nothing);
    ASSERT_OK(import(&transfer, store, &nothing, 4096));
    ck_assert(!transfer.changed);
    bough_transfer_release(&transfer);
    check_sound(store);
    bough_store_close(store);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(path);
}

/* ---- import ---------------------------------------------------------------------------------------------------- */

static uint64_t layer_bytes(const char *store_path)
{
    uint64_t bytes = 0;
    char *folder = bough__format("%s/layers", store_path);
    DIR *directory = opendir(folder);
    for (struct dirent *entry = NULL; (entry = readdir(directory));) {
        struct stat info;
        char *path = bough__format("%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && stat(path, &info) == 0)
            bytes += (uint64_t)info.st_size;
        free(path);
    }
    closedir(directory);
    free(folder);
    return bytes;
}

TEST(random_imports)
{
    struct harness_random random = {33};
    struct memory states[12];
    char ids[12][BOUGH_ID_SIZE];
    const uint32_t page_size = 1024;
    char *path = place("r.bough");
    states[0] = random_memory(&random, 400 * page_size, page_size);
    bough_transfer transfer = init(path, &states[0], page_size);
    strcpy(ids[0], transfer.id);
    bough_transfer_release(&transfer);
    bough_store *store = open_store(path);
    for (size_t i = 1; i < COUNT_OF(states); i++) {
        /* The state before, longer or shorter, at times by less than a page, with some pages changed or zeroed. */
        size_t len = (size_t)(states[i - 1].len + harness_below(&random, 60 * page_size) - 30 * page_size);
        struct memory *state = &states[i];
        *state = (struct memory){calloc(1, len), len, harness_below(&random, 2), 0, 0, 0};
        memcpy(state->bytes, states[i - 1].bytes, len < states[i - 1].len ? len : states[i - 1].len);
        for (uint64_t n = harness_below(&random, 30); n > 0; n--) {
            size_t at = (size_t)harness_below(&random, len - page_size) / page_size * page_size;
            if (harness_below(&random, 3))
                harness_fill(&random, state->bytes + at, 20);
            else
                memset(state->bytes + at, 0, page_size);
        }
        ASSERT_OK(import(&transfer, store, state, page_size));
        strcpy(ids[i], transfer.id);
        bough_transfer_release(&transfer);
        for (size_t j = 0; j <= i; j++)
            check_bytes(store, ids[j], &states[j]);
        check_bytes(store, "main", state);
    }
    check_sound(store);
    bough_store_close(store);
    for (size_t i = 0; i < COUNT_OF(states); i++)
        free(states[i].bytes);
    free(path);
}

TEST(equal_pages_cost_nothing)
{
    struct harness_random random = {8};
    bough_transfer transfer;
    struct memory memory = {malloc(2000 * 4096), 2000 * 4096, false, 0, 0, 0};
    harness_fill(&random, memory.bytes, memory.len);
    char *path = place("c.bough");
    bough_transfer made = init(path, &memory, 4096);
    bough_store *store = open_store(path);
    unsigned files = count_files(harness_path("c.bough/layers"));
    uint64_t bytes = layer_bytes(path);

    ASSERT_OK(import(&transfer, store, &memory, 4096));
    ck_assert(!transfer.changed);
    ck_assert_str_eq(transfer.id, made.id);
    ck_assert_str_eq(transfer.root, made.root);
    ck_assert_uint_eq(count_files(harness_path("c.bough/layers")), files);
    bough_transfer_release(&transfer);

    memory.bytes[700 * 4096] ^= 1;
    memory.bytes[1999 * 4096] ^= 1;
    ASSERT_OK(import(&transfer, store, &memory, 4096));
    ck_assert(transfer.changed);
    ck_assert_str_ne(transfer.id, made.id);
    ck_assert_uint_le(layer_bytes(path), bytes + 2 * 4096 + BOUGH__LAYER_FRAMES_OFFSET);
    bough_transfer_release(&transfer);
    check_bytes(store, "main", &memory);

    /* Changed back: another commit with the first root. */
    memory.bytes[700 * 4096] ^= 1;
    memory.bytes[1999 * 4096] ^= 1;
    ASSERT_OK(import(&transfer, store, &memory, 4096));
    ck_assert_str_eq(transfer.root, made.root);
    bough_transfer_release(&transfer);
    bough_store_close(store);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(path);
}

TEST(equal_bytes_in_other_blocks)
{
    struct harness_random random = {9};
    bough_transfer transfer;
    struct memory memory = random_memory(&random, 500 * 1024, 1024);
    char *path = place("b.bough");
    bough_transfer made = init(path, &memory, 1024);
    bough_store *store = open_store(path);
    ASSERT_OK(import(&transfer, store, &memory, 8192));
    ck_assert(!transfer.changed);
    bough_transfer_release(&transfer);
    memory.bytes[memory.len - 1] ^= 1;
    ASSERT_OK(import(&transfer, store, &memory, 8192));
    ck_assert(transfer.changed);
    bough_transfer_release(&transfer);
    check_bytes(store, "main", &memory);
    check_sound(store);
    bough_store_close(store);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(path);
}

TEST(an_import_that_fails_changes_nothing)
{
    struct harness_random random = {10};
    bough_transfer transfer;
    struct memory memory = random_memory(&random, 3000 * 1024, 1024), other = random_memory(&random, 3000 * 1024, 1024);
    char *path = place("f.bough");
    bough_transfer made = init(path, &memory, 1024);
    bough_store *store = open_store(path);
    unsigned files = count_files(harness_path("f.bough/layers"));
    for (int kind = 0; kind < 2; kind++) {
        other.fail_at = kind ? 0 : 2900 * 1024;
        other.finish_code = kind ? BOUGH_BUSY : 0;
        ASSERT_CODE(kind ? BOUGH_BUSY : BOUGH_IO, import(&transfer, store, &other, 1024));
        ck_assert_str_eq(bough_error_message(), kind ? "it moved" : "the source broke");
        ck_assert_uint_eq(count_files(harness_path("f.bough/layers")), files);
        check_bytes(store, "main", &memory);
    }
    other.finish_code = 0;
    ASSERT_OK(import(&transfer, store, &other, 1024));
    bough_transfer_release(&transfer);
    check_bytes(store, "main", &other);
    check_bytes(store, made.id, &memory);
    check_sound(store);
    bough_store_close(store);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(other.bytes);
    free(path);
}

TEST(a_protected_branch)
{
    bough_transfer transfer;
    bough_branches branches;
    struct memory memory = {(uint8_t *)calloc(1, 1024), 1024, false, 0, 0, 0};
    char *path = place("p.bough");
    memory.bytes[0] = 1;
    bough_transfer made = init(path, &memory, 1024);
    bough_store *store = open_store(path);
    ASSERT_OK(bough_branch_protect(&branches, store, "main", true));
    bough_branches_release(&branches);
    memory.bytes[0] = 2;
    ASSERT_CODE(BOUGH_REFUSED, import(&transfer, store, &memory, 1024));
    ASSERT_OK(bough_branch_protect(&branches, store, "main", false));
    bough_branches_release(&branches);
    ASSERT_OK(import(&transfer, store, &memory, 1024));
    bough_transfer_release(&transfer);
    struct bough__source source = source_of(&memory, 1024);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__store_import(&transfer, store, "nobody", &source, NULL));
    bough_store_close(store);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(path);
}

/* Writes a page of the branch and commits the transaction, not the branch. */
static void write_page(bough_store *store, const char *branch, uint64_t block, uint8_t byte, uint32_t page_size)
{
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    struct bough__snapshot snapshot;
    struct bough__txn *txn = NULL;
    uint8_t *page = malloc(page_size);
    memset(page, byte, page_size);
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, branch));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    ASSERT_OK(bough__txn_begin(&txn, &snapshot));
    ASSERT_OK(bough__txn_write(txn, block, page));
    ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &(uint64_t){0}));
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    bough__branch_row_clear(&row);
    free(page);
}

TEST(a_dirty_branch_is_committed_first)
{
    struct harness_random random = {14};
    bough_transfer transfer;
    bough_commits log;
    struct memory memory = random_memory(&random, 100 * 1024, 1024), other = random_memory(&random, 80 * 1024, 1024);
    char *path = place("d.bough");
    bough_transfer made = init(path, &memory, 1024);
    bough_store *store = open_store(path);
    write_page(store, "main", 3, 0x5a, 1024);
    memset(memory.bytes + 3 * 1024, 0x5a, 1024);

    struct sink sink = {calloc(1, memory.len), 0};
    ASSERT_OK(bough__store_stream(&transfer, store, "main", sink_write, &sink, NULL));
    ck_assert_mem_eq(sink.bytes, memory.bytes, memory.len);
    ck_assert_str_eq(transfer.id, ""); /* no commit */
    char root[BOUGH_ID_SIZE];
    strcpy(root, transfer.root);
    bough_transfer_release(&transfer);
    free(sink.bytes);

    ASSERT_OK(import(&transfer, store, &other, 1024));
    bough_transfer_release(&transfer);
    ASSERT_OK(bough_commit_log(&log, store, "main", 0));
    ck_assert_uint_eq(log.count, 3);
    ck_assert(!log.items[0].automatic && log.items[1].automatic && !log.items[2].automatic);
    ck_assert_str_eq(log.items[1].root, root);
    ck_assert_str_eq(log.items[2].id, made.id);
    ck_assert_uint_eq(log.items[0].parent_count, 1);
    ck_assert_str_eq(log.items[0].parents[0], log.items[1].id);
    ck_assert_uint_eq(log.items[0].page_size, 1024);
    check_bytes(store, log.items[1].id, &memory);
    check_bytes(store, "main", &other);
    bough_commits_release(&log);

    /* The same bytes as a state that is not committed: that state's commit is the head, and no other is made. */
    write_page(store, "main", 4, 0x11, 1024);
    memset(other.bytes + 4 * 1024, 0x11, 1024);
    ASSERT_OK(import(&transfer, store, &other, 1024));
    ck_assert(!transfer.changed);
    bough_transfer_release(&transfer);
    write_page(store, "main", 5, 0x22, 1024); /* and the branch is as usable as before */
    memset(other.bytes + 5 * 1024, 0x22, 1024);
    ASSERT_OK(import(&transfer, store, &memory, 1024));
    ck_assert(transfer.changed);
    bough_transfer_release(&transfer);
    write_page(store, "main", 6, 0x33, 1024);
    check_sound(store);
    bough_store_close(store);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(other.bytes);
    free(path);
}

/* Who has the branch open keeps what he sees, and learns that the branch has gone elsewhere. A writer is waited for. */
TEST(a_branch_that_others_have_open)
{
    struct bough__branch_row row = {0};
    struct bough__layer *layer = NULL;
    struct bough__snapshot before;
    struct bough__txn *txn = NULL;
    bough_transfer transfer;
    bough_options options = BOUGH_OPTIONS_INIT;
    struct memory memory = {(uint8_t *)calloc(1, 4096), 4096, false, 0, 0, 0};
    uint8_t page[1024];
    char *path = place("o.bough");
    memory.bytes[0] = 1;
    bough_transfer made = init(path, &memory, 1024);
    bough_store *store = open_store(path);
    memory.bytes[0] = 2;
    options.timeout_ms = 0;
    struct bough__source source = source_of(&memory, 1024);
    ASSERT_OK(bough__catalog_branch_by_name(&row, store->catalog, "main"));
    ASSERT_OK(bough__branch_layer(&layer, store, &row));
    ASSERT_OK(bough__snapshot_pin(&before, layer));
    ASSERT_OK(bough__txn_begin(&txn, &before));
    ASSERT_CODE(BOUGH_BUSY, bough__store_import(&transfer, store, "main", &source, &options));
    ck_assert(!bough__layer_is_doubtful(layer));
    bough__txn_end(txn);
    ASSERT_OK(bough__store_import(&transfer, store, "main", &source, &options));
    ck_assert(bough__layer_is_doubtful(layer));
    ASSERT_CODE(BOUGH_STALE, bough__branch_look(store, row.id, layer));
    ASSERT_OK(bough__snapshot_read(&before, 0, page, true));
    ck_assert_uint_eq(page[0], 1);
    bough__snapshot_release(&before);
    bough__layer_close(layer);
    bough_transfer_release(&transfer);
    check_bytes(store, "main", &memory);
    bough_store_close(store);
    bough__branch_row_clear(&row);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(path);
}

/* ---- init: whole or not at all --------------------------------------------------------------------------------- */

struct stop {
    unsigned calls, stop_at;
    uint64_t last_done;
};

static int stop_at(void *context, uint64_t done, uint64_t total)
{
    struct stop *stop = context;
    ck_assert_uint_le(done, total);
    ck_assert_uint_ge(done, stop->last_done);
    stop->last_done = done;
    return ++stop->calls == stop->stop_at;
}

TEST(interrupted)
{
    struct harness_random random = {12};
    struct memory memory = random_memory(&random, 5 << 20, 4096), other = random_memory(&random, 5 << 20, 4096);
    char *path = place("i.bough");
    bough_options options = BOUGH_OPTIONS_INIT;
    struct bough__source source = source_of(&memory, 4096), second = source_of(&other, 4096);
    bough_transfer transfer;
    struct stop stop = {0, 3, 0};
    options.progress = stop_at;
    options.progress_context = &stop;
    ASSERT_CODE(BOUGH_INTERRUPTED, bough__store_init(&transfer, path, NULL, &source, &options));
    ck_assert_uint_eq(count_files(harness_directory()), 0);
    stop = (struct stop){0, 0, 0};
    ASSERT_OK(bough__store_init(&transfer, path, NULL, &source, &options));
    ck_assert_uint_eq(stop.last_done, 5 << 20);
    bough_transfer_release(&transfer);

    bough_store *store = open_store(path);
    ck_assert_ptr_null(bough_store_origin(store));
    stop = (struct stop){0, 4, 0};
    ASSERT_CODE(BOUGH_INTERRUPTED, bough__store_import(&transfer, store, "main", &second, &options));
    check_bytes(store, "main", &memory);
    ck_assert_uint_eq(count_files(harness_path("i.bough/layers")), 1);
    stop = (struct stop){0, 2, 0};
    struct sink sink = {calloc(1, memory.len), 0};
    ASSERT_CODE(BOUGH_INTERRUPTED, bough__store_stream(&transfer, store, "main", sink_write, &sink, &options));
    bough_store_close(store);
    free(sink.bytes);
    free(memory.bytes);
    free(other.bytes);
    free(path);
}

TEST(a_store_that_exists)
{
    struct memory memory = {(uint8_t *)calloc(1, 1024), 1024, false, 0, 0, 0};
    struct bough__source source = source_of(&memory, 1024);
    bough_transfer transfer;
    static const char *const names[] = {"directory.bough", "file.bough", "link.bough"};
    ck_assert_int_eq(mkdir(harness_path(names[0]), 0755), 0);
    harness_write_file(harness_path(names[1]), "x", 1);
    ck_assert_int_eq(symlink("nowhere", harness_path(names[2])), 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        ASSERT_CODE(BOUGH_REFUSED, bough__store_init(&transfer, harness_path(names[i]), NULL, &source, NULL));
        ck_assert_uint_eq(memory.read_bytes, 0); /* known before any work */
    }
    ck_assert_uint_eq(count_files(harness_directory()), 3);
    ASSERT_CODE(BOUGH_NOT_FOUND, bough__store_init(&transfer, harness_path("no/such.bough"), NULL, &source, NULL));
    ASSERT_CODE(BOUGH_USAGE, bough__store_init(&transfer, "..", NULL, &source, NULL));
    ASSERT_CODE(BOUGH_USAGE, bough__store_init(&transfer, "", NULL, &source, NULL));
    free(memory.bytes);
}

TEST(what_a_killed_init_left)
{
    struct memory memory = {(uint8_t *)calloc(1, 1024), 1024, false, 0, 0, 0};
    char *path = place("k.bough"), *alive = place(".k.bough.tmp-1-alive"), *dead = place(".k.bough.tmp-2-dead");
    char *other = place(".other.bough.tmp-3-dead");
    char *inside = bough__format("%s/layers", dead), *file = bough__format("%s/layers/1.layer", dead);
    ck_assert_int_eq(mkdir(alive, 0755) | mkdir(dead, 0755) | mkdir(other, 0755) | mkdir(inside, 0755), 0);
    harness_write_file(file, "half a layer", 12);
    int fd = open(alive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    bough_transfer made = init(path, &memory, 1024);
    ck_assert_int_eq(access(alive, F_OK), 0);
    ck_assert_int_ne(access(dead, F_OK), 0);
    ck_assert_int_eq(access(other, F_OK), 0); /* another store's */
    ck_assert_uint_eq(count_files(harness_directory()), 3);
    close(fd);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(path);
    free(alive);
    free(dead);
    free(other);
    free(inside);
    free(file);
}

TEST(modes)
{
    static const struct {
        mode_t file, layer, directory;
    } cases[] = {{0600, 0600, 0700}, {0640, 0640, 0750}, {0444, 0644, 0755}, {0666, 0666, 0777}};
    umask(0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char name[40];
        struct stat info;
        bough_transfer transfer;
        struct memory memory = {(uint8_t *)calloc(1, 1024), 1024, false, 0, 0, 0};
        memory.bytes[5] = 5;
        struct bough__source source = source_of(&memory, 1024);
        source.mode = S_IFREG | cases[i].file;
        snprintf(name, sizeof name, "m%zu.bough", i);
        char *path = place(name);
        ASSERT_OK(bough__store_init(&transfer, path, NULL, &source, NULL));
        ck_assert_int_eq(stat(path, &info), 0);
        ck_assert_uint_eq(info.st_mode & 07777, cases[i].directory);
        static const char *const inside[] = {"db", "catalog.db", "layers/1.layer", "nodes/1.nodes"};
        for (size_t j = 0; j < COUNT_OF(inside); j++) {
            char *file = bough__format("%s/%s", path, inside[j]);
            ck_assert_msg(stat(file, &info) == 0, "%s", file);
            ck_assert_msg((info.st_mode & 07777) == cases[i].layer, "%s: %o", file, info.st_mode);
            free(file);
        }
        bough_transfer_release(&transfer);
        free(memory.bytes);
        free(path);
    }
}

/* ---- every system call may fail -------------------------------------------------------------------------------- */

static const int errors[FAULTOS_KINDS] = {
    [FAULTOS_OPEN] = EMFILE, [FAULTOS_READ] = EIO,     [FAULTOS_WRITE] = ENOSPC, [FAULTOS_SHORT_WRITE] = ENOSPC,
    [FAULTOS_SYNC] = EIO,    [FAULTOS_TRUNCATE] = EIO, [FAULTOS_NAME] = EIO,     [FAULTOS_STAT] = EIO,
    [FAULTOS_MAP] = ENOMEM,  [FAULTOS_LOCK] = ENOLCK,  [FAULTOS_MEMORY] = ENOMEM};

static void expect_bytes(const char *path, const struct memory *memory)
{
    bough_store *store = open_store(path);
    check_bytes(store, "main", memory);
    check_sound(store);
    bough_store_close(store);
}

TEST(every_failure_of_init)
{
    struct harness_random random = {41};
    struct memory memory = random_memory(&random, 70 * 1024, 1024);
    char *path = place("x.bough");
    faultos_install();
    for (enum faultos_kind kind = 0; kind < FAULTOS_KINDS; kind++) {
        bool was_hit = true;
        for (uint64_t nth = 1; was_hit; nth += kind == FAULTOS_MEMORY ? 3 : 1) {
            bough_transfer transfer;
            struct bough__source source = source_of(&memory, 1024);
            faultos_fail(kind, nth, errors[kind], false);
            int rc = bough__store_init(&transfer, path, NULL, &source, NULL);
            was_hit = faultos_was_hit();
            faultos_clear();
            if (rc == BOUGH_OK) {
                bough_transfer_release(&transfer);
                expect_bytes(path, &memory);
                harness_remove_tree(path);
            } else {
                ck_assert_msg(was_hit && bough_error_message()[0], "%s", bough_error_message());
                /* Once the directory has its name, only its name's sync can fail; the store is whole then. */
                if (access(path, F_OK) == 0) {
                    expect_bytes(path, &memory);
                    harness_remove_tree(path);
                }
                ck_assert_ptr_null(transfer.path);
            }
        }
    }
    bough_transfer made = init(path, &memory, 1024); /* sweeps what could not be removed */
    ck_assert_uint_eq(count_files(harness_directory()), 1);
    bough_transfer_release(&made);
    free(memory.bytes);
    free(path);
}

TEST(every_failure_of_import)
{
    struct harness_random random = {42};
    struct memory memory = random_memory(&random, 70 * 1024, 1024), other = random_memory(&random, 60 * 1024, 1024);
    char *path = place("y.bough"), *pristine = place("pristine.bough");
    bough_transfer made = init(pristine, &memory, 1024);
    bough_transfer_release(&made);
    faultos_install();
    for (enum faultos_kind kind = 0; kind < FAULTOS_KINDS; kind++) {
        bool was_hit = true;
        for (uint64_t nth = 1; was_hit; nth += kind == FAULTOS_MEMORY ? 3 : 1) {
            bough_transfer transfer;
            harness_copy_tree(pristine, path);
            bough_store *store = open_store(path);
            faultos_fail(kind, nth, errors[kind], false);
            int rc = import(&transfer, store, &other, 1024);
            was_hit = faultos_was_hit();
            faultos_clear();
            bough_store_close(store);
            expect_bytes(path, rc == BOUGH_OK ? &other : &memory);
            if (rc == BOUGH_OK)
                bough_transfer_release(&transfer);
            else
                ck_assert(was_hit && bough_error_message()[0]);
            harness_remove_tree(path);
        }
    }
    free(memory.bytes);
    free(other.bytes);
    free(path);
    free(pristine);
}

int main(void)
{
    const struct harness_case cases[] = {
        CASE(what_goes_in_comes_out),
        CASE(an_empty_database),
        CASE(random_imports),
        CASE(equal_pages_cost_nothing),
        CASE(equal_bytes_in_other_blocks),
        CASE(an_import_that_fails_changes_nothing),
        CASE(a_protected_branch),
        CASE(a_dirty_branch_is_committed_first),
        CASE(a_branch_that_others_have_open),
        CASE(interrupted),
        CASE(a_store_that_exists),
        CASE(what_a_killed_init_left),
        CASE(modes),
        CASE(every_failure_of_init),
        CASE(every_failure_of_import),
    };
    return harness_run("transfer", cases, COUNT_OF(cases));
}
