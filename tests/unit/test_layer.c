/* test_layer.c - a layer against a model: an array of pages. Random transactions, snapshots kept open, rollbacks,
 * cuts, reopening, folding and forking; every page compared. Prints the seed. */
#include "harness.h"

#include "bough.h"
#include "frames.h"
#include "layer.h"
#include "layer_file.h"
#include "layer_state.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_BLOCKS 600

struct model {
    uint32_t block_size;
    uint64_t size_bytes;
    uint8_t *pages; /* MAX_BLOCKS of them; zeros beyond the end */
};

static struct model copy_model(const struct model *from)
{
    struct model copy = *from;
    copy.pages = malloc((size_t)MAX_BLOCKS * from->block_size);
    memcpy(copy.pages, from->pages, (size_t)MAX_BLOCKS * from->block_size);
    return copy;
}

static struct bough__space *make_space(void)
{
    struct bough__space *space = NULL;
    char *directory = strdup(harness_path("s.bough"));
    mkdir(directory, 0700);
    mkdir(harness_path("s.bough/layers"), 0700);
    mkdir(harness_path("s.bough/nodes"), 0700);
    mkdir(harness_path("s.bough/run"), 0700);
    ASSERT_OK(bough__space_create(directory, 0600));
    ASSERT_OK(bough__space_open(&space, directory));
    free(directory);
    return space;
}

static struct bough__layer *open_layer(struct bough__space *space, uint32_t number, const struct bough__tree *head)
{
    struct bough__layer *layer = NULL;
    struct bough__layer_owner owner = {.number = number, .branch = "b"};
    if (head != NULL)
        owner.head = *head;
    ASSERT_OK(bough__layer_open(&layer, space, &owner));
    return layer;
}

static void check_snapshot(const struct bough__snapshot *snapshot, const struct model *model)
{
    uint8_t *page = malloc(model->block_size);
    ck_assert_uint_eq(snapshot->size_bytes, model->size_bytes);
    uint64_t count = bough__block_count(model->size_bytes, model->block_size);
    for (uint64_t i = 0; i < count; i++) {
        ASSERT_OK(bough__snapshot_read(snapshot, i, page, i % 2 == 0));
        ck_assert_msg(memcmp(page, model->pages + i * model->block_size, model->block_size) == 0,
                      "block %llu differs at transaction %llu", (unsigned long long)i,
                      (unsigned long long)snapshot->txn);
    }
    free(page);
}

static void check_newest(struct bough__layer *layer, const struct model *model)
{
    struct bough__snapshot snapshot = {0};
    ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
    check_snapshot(&snapshot, model);
    bough__snapshot_release(&snapshot);
}

static void random_write(struct harness_random *random, struct bough__txn *txn, struct model *model, uint64_t limit)
{
    uint32_t size = model->block_size;
    uint64_t block = harness_below(random, limit);
    uint8_t *page = model->pages + block * size;
    switch (harness_below(random, 10)) {
    case 0:
        memset(page, 0, size);
        break;
    case 1: /* the same content again */
        break;
    case 2: /* content that the block may well have had before */
        memset(page, (int)('a' + harness_below(random, 3)), size);
        break;
    default:
        harness_fill(random, page, size);
    }
    ASSERT_OK(bough__txn_write(txn, block, page));
    if (model->size_bytes < (block + 1) * size)
        model->size_bytes = (block + 1) * size;
}

static void random_resize(struct harness_random *random, struct bough__txn *txn, struct model *model, uint64_t limit)
{
    uint64_t size = harness_below(random, limit + 1) * model->block_size;
    if (harness_below(random, 3) == 0 && size != 0)
        size -= model->block_size / 2;
    ASSERT_OK(bough__txn_resize(txn, size));
    if (size < model->size_bytes)
        memset(model->pages + size, 0, (size_t)MAX_BLOCKS * model->block_size - size);
    model->size_bytes = size;
}

static void check_txn(struct bough__txn *txn, const struct model *model)
{
    uint8_t *page = malloc(model->block_size);
    ck_assert_uint_eq(bough__txn_size(txn), model->size_bytes);
    for (uint64_t i = 0; i < bough__block_count(model->size_bytes, model->block_size); i++) {
        ASSERT_OK(bough__txn_read(txn, i, page, true));
        ck_assert_int_eq(memcmp(page, model->pages + i * model->block_size, model->block_size), 0);
    }
    free(page);
}

/* One transaction on layer and model; now and then rolled back. */
static void random_transaction(struct harness_random *random, struct bough__layer *layer, struct model *model)
{
    struct bough__snapshot base = {0};
    struct bough__txn *txn = NULL;
    uint64_t number = 0, limit = harness_below(random, 8) == 0 ? MAX_BLOCKS : 40;
    uint64_t writes = harness_below(random, 30) == 0 ? 2500 : harness_below(random, 12);
    struct model before = copy_model(model);
    ASSERT_OK(bough__snapshot_pin(&base, layer));
    ASSERT_OK(bough__txn_begin(&txn, &base));
    ASSERT_OK(bough__txn_set_block_size(txn, model->block_size));
    for (uint64_t i = 0; i < writes; i++) {
        if (harness_below(random, 40) == 0)
            random_resize(random, txn, model, limit);
        else
            random_write(random, txn, model, limit);
    }
    if (harness_below(random, 4) == 0)
        check_txn(txn, model);
    if (harness_below(random, 6) == 0) {
        bough__txn_rollback(txn);
        memcpy(model->pages, before.pages, (size_t)MAX_BLOCKS * model->block_size);
        model->size_bytes = before.size_bytes;
    } else {
        ASSERT_OK(bough__txn_commit(txn, harness_below(random, 4) == 0 ? BOUGH__DURABLE : BOUGH__LAZY, &number));
        if (writes > 0)
            ck_assert_uint_gt(number, base.txn);
    }
    free(before.pages);
    bough__txn_end(txn);
    bough__snapshot_release(&base);
}

struct kept {
    struct bough__snapshot snapshot;
    struct model model;
};

static void drop_kept(struct kept *kept)
{
    if (kept->model.pages == NULL)
        return;
    check_snapshot(&kept->snapshot, &kept->model);
    bough__snapshot_release(&kept->snapshot);
    free(kept->model.pages);
    *kept = (struct kept){0};
}

static void model_run(uint64_t seed, uint32_t block_size, uint64_t steps)
{
    struct harness_random random = {seed};
    struct model model = {.block_size = block_size, .pages = calloc(MAX_BLOCKS, block_size)};
    struct kept kept[4] = {0};
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 7, NULL);
    printf("model: seed %llu, blocks of %u bytes\n", (unsigned long long)seed, block_size);
    for (uint64_t step = 0; step < steps; step++) {
        struct kept *slot = &kept[harness_below(&random, 4)];
        random_transaction(&random, layer, &model);
        check_newest(layer, &model);
        drop_kept(slot);
        if (harness_below(&random, 2) == 0) {
            slot->model = copy_model(&model);
            ASSERT_OK(bough__snapshot_pin(&slot->snapshot, layer));
        }
        if (harness_below(&random, 10) == 0) {
            for (size_t i = 0; i < 4; i++)
                drop_kept(&kept[i]);
            bough__layer_close(layer);
            layer = open_layer(space, 7, NULL);
            check_newest(layer, &model);
        }
    }
    for (size_t i = 0; i < 4; i++)
        drop_kept(&kept[i]);
    bough__layer_close(layer);
    bough__space_close(space);
    free(model.pages);
    harness_remove_tree(harness_path("s.bough"));
}

TEST(model)
{
    uint64_t seed = harness_number("BOUGH_TEST_SEED", 1);
    const uint32_t sizes[] = {512, 1024, 4096, 65536};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        model_run(seed + i, sizes[i], sizes[i] > 4096 ? 30 : 150);
}

/* A fork of a snapshot, of its fork, and so on: each reads as its parent did and then goes its own way. */
TEST(forks_are_independent)
{
    struct harness_random random = {42};
    struct model models[6] = {{.block_size = 1024, .pages = calloc(MAX_BLOCKS, 1024)}};
    struct bough__layer *layers[6] = {0};
    struct bough__space *space = make_space();
    layers[0] = open_layer(space, 1, NULL);
    for (int i = 0; i < 20; i++)
        random_transaction(&random, layers[0], &models[0]);
    for (uint32_t i = 1; i < 6; i++) {
        struct bough__snapshot snapshot = {0};
        struct bough__tree tree = {0};
        uint64_t nodes = 0;
        ASSERT_OK(bough__snapshot_pin_and_hold(&snapshot, layers[i - 1]));
        ASSERT_OK(bough__snapshot_fold(&tree, &nodes, &snapshot));
        bough__snapshot_release(&snapshot);
        models[i] = copy_model(&models[i - 1]);
        layers[i] = open_layer(space, i + 1, &tree);
        check_newest(layers[i], &models[i]);
        ck_assert_int_ne(access(harness_path("s.bough/layers/1.layer"), F_OK), -1);
        for (uint32_t j = 0; j <= i; j++)
            for (int k = 0; k < 5; k++)
                random_transaction(&random, layers[j], &models[j]);
        for (uint32_t j = 0; j <= i; j++)
            check_newest(layers[j], &models[j]);
    }
    for (int i = 0; i < 6; i++) {
        bough__layer_close(layers[i]);
        free(models[i].pages);
    }
    bough__space_close(space);
}

TEST(one_writer_at_a_time)
{
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    struct bough__snapshot a = {0}, b = {0};
    struct bough__txn *first = NULL, *second = NULL;
    uint8_t page[512];
    uint64_t number = 0;
    memset(page, 'x', sizeof page);
    ASSERT_OK(bough__snapshot_pin(&a, layer));
    ASSERT_OK(bough__snapshot_pin(&b, layer));
    ASSERT_OK(bough__txn_begin(&first, &a));
    ASSERT_CODE(BOUGH_BUSY, bough__txn_begin(&second, &b));
    ASSERT_OK(bough__txn_set_block_size(first, 512));
    ASSERT_OK(bough__txn_write(first, 0, page));
    ASSERT_OK(bough__txn_commit(first, BOUGH__DURABLE, &number));
    ck_assert_uint_eq(number, 1);
    bough__txn_end(first);
    ck_assert(!bough__snapshot_is_newest(&b));
    ASSERT_CODE(BOUGH_STALE, bough__txn_begin(&second, &b));
    bough__snapshot_release(&b);
    ASSERT_OK(bough__snapshot_pin(&b, layer));
    ASSERT_OK(bough__txn_begin(&second, &b));
    bough__txn_end(second);
    bough__snapshot_release(&a);
    bough__snapshot_release(&b);
    bough__layer_close(layer);
    bough__space_close(space);
}

/* Another process writes; this one sees each of its transactions when it pins anew, and a busy writer lock
 * meanwhile. */
TEST(two_processes)
{
    struct harness_random random = {7};
    struct model model = {.block_size = 512, .pages = calloc(MAX_BLOCKS, 512)};
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    for (int i = 0; i < 40; i++) {
        struct harness_random next = random;
        pid_t child = fork();
        if (child == 0) {
            /* A process of its own opens by itself: what it inherited belongs to the parent. */
            struct bough__space *mine = NULL;
            execl("/proc/self/exe", "test_layer", "--write-one", harness_path("s.bough"), (char *)NULL);
            (void)mine;
            _exit(9);
        }
        int status = 0;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
        random = next;
        struct bough__snapshot snapshot = {0};
        uint8_t page[512];
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        ck_assert_uint_eq(snapshot.txn, (uint64_t)(i + 1));
        ASSERT_OK(bough__snapshot_read(&snapshot, (uint64_t)i, page, true));
        ck_assert_int_eq(page[0], 'a' + i % 26);
        bough__snapshot_release(&snapshot);
    }
    free(model.pages);
    bough__layer_close(layer);
    bough__space_close(space);
}

static int write_one(const char *directory)
{
    struct bough__space *space = NULL;
    struct bough__layer *layer = NULL;
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    struct bough__layer_owner owner = {.number = 1, .branch = "b"};
    uint8_t page[512];
    uint64_t number = 0;
    if (bough__space_open(&space, directory) != BOUGH_OK || bough__layer_open(&layer, space, &owner) != BOUGH_OK ||
        bough__snapshot_pin(&snapshot, layer) != BOUGH_OK || bough__txn_begin(&txn, &snapshot) != BOUGH_OK)
        return 2;
    memset(page, (int)('a' + snapshot.txn % 26), sizeof page);
    if (bough__txn_set_block_size(txn, 512) != BOUGH_OK ||
        bough__txn_write(txn, snapshot.txn, page) != BOUGH_OK ||
        bough__txn_commit(txn, BOUGH__LAZY, &number) != BOUGH_OK)
        return 3;
    bough__txn_end(txn);
    bough__snapshot_release(&snapshot);
    bough__layer_close(layer);
    bough__space_close(space);
    return 0;
}

/* After a clean close a damaged end of the log is damage and not an older state. */
TEST(damaged_log_end)
{
    struct harness_random random = {3};
    struct model model = {.block_size = 512, .pages = calloc(MAX_BLOCKS, 512)};
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    struct bough__layer_owner owner = {.number = 1, .branch = "b"};
    for (int i = 0; i < 3; i++)
        random_transaction(&random, layer, &model);
    bough__layer_close(layer);
    size_t len = 0;
    uint8_t *bytes = harness_read_file(harness_path("s.bough/layers/1.layer"), &len);
    bytes[4608 + 20] ^= 1;
    harness_write_file(harness_path("s.bough/layers/1.layer"), bytes, len);
    ASSERT_CODE(BOUGH_CORRUPT, bough__layer_open(&layer, space, &owner));
    bytes[4608 + 20] ^= 1;
    harness_write_file(harness_path("s.bough/layers/1.layer"), bytes, len);
    layer = open_layer(space, 1, NULL);
    check_newest(layer, &model);
    bough__layer_close(layer);
    free(bytes);
    free(model.pages);
    bough__space_close(space);
}

/* Memory and descriptors stay put over many transactions, and the log starts over. */
TEST(log_is_bounded)
{
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    struct bough__snapshot snapshot = {0};
    struct bough__txn *txn = NULL;
    uint8_t page[512];
    uint64_t number = 0;
    for (uint64_t i = 0; i < 6000; i++) {
        memset(page, (int)('a' + i % 26), sizeof page);
        ASSERT_OK(bough__snapshot_pin(&snapshot, layer));
        ASSERT_OK(bough__txn_begin(&txn, &snapshot));
        ASSERT_OK(bough__txn_set_block_size(txn, 512));
        ASSERT_OK(bough__txn_write(txn, i % 5, page));
        ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &number));
        bough__txn_end(txn);
        bough__snapshot_release(&snapshot);
    }
    struct bough__layer_slot slot = {0};
    struct bough__layer_identity identity = {0};
    bool found = false;
    int fd = -1;
    ASSERT_OK(bough__layer_file_open(&fd, &identity, space, 1, true));
    ASSERT_OK(bough__layer_file_read_slot(&found, &slot, fd, space, 1, 0));
    ck_assert(found);
    ck_assert_uint_ge(slot.generation, 2);
    ck_assert_uint_ge(slot.txn, 2000);
    bough__os_close(&fd);
    bough__layer_close(layer);
    bough__space_close(space);
}

struct live {
    uint32_t number;
    struct bough__frames *free;
    uint64_t count;
};

static int check_live(void *context, uint64_t block, const struct bough__entry *entry)
{
    struct live *live = context;
    if (entry->layer != live->number)
        return 0;
    live->count++;
    ck_assert_msg(!bough__frames_has(live->free, entry->frame), "frame %llu of block %llu is live and free",
                  (unsigned long long)entry->frame, (unsigned long long)block);
    return 0;
}

/* A branch that many short processes write to: what a checkpoint freed is used again, so the file stays small, and no
 * free extent holds a page that the tree refers to. */
TEST(frames_are_used_again)
{
    struct harness_random random = {5};
    struct model model = {.block_size = 512, .pages = calloc(MAX_BLOCKS, 512)};
    struct bough__space *space = make_space();
    uint64_t lists = 0, largest = 0;
    for (int round = 0; round < 60; round++) {
        struct bough__layer *layer = open_layer(space, 1, NULL);
        for (int i = 0; i < 120; i++) {
            struct bough__snapshot base = {0};
            struct bough__txn *txn = NULL;
            uint64_t number = 0;
            ASSERT_OK(bough__snapshot_pin(&base, layer));
            ASSERT_OK(bough__txn_begin(&txn, &base));
            ASSERT_OK(bough__txn_set_block_size(txn, 512));
            for (int k = 0; k < 4; k++)
                random_write(&random, txn, &model, 100);
            ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &number));
            bough__txn_end(txn);
            bough__snapshot_release(&base);
        }
        check_newest(layer, &model);
        bough__layer_close(layer);
        struct bough__layer_slot slot = {0};
        struct bough__layer_identity identity = {0};
        struct bough__frames list = {0};
        struct stat st = {0};
        bool found = false;
        int fd = -1;
        ASSERT_OK(bough__layer_file_open(&fd, &identity, space, 1, true));
        ASSERT_OK(bough__layer_file_read_slot(&found, &slot, fd, space, 1, 0));
        ASSERT_OK(bough__frames_load(&list, fd, "layer", &slot, 512));
        ck_assert_int_eq(fstat(fd, &st), 0);
        if ((uint64_t)st.st_size > largest)
            largest = (uint64_t)st.st_size;
        lists += list.count != 0;
        struct live live = {.number = 1, .free = &list};
        ASSERT_OK(bough__map_walk(space->nodes, &slot.tree, 0, check_live, &live));
        bough__frames_release(&list);
        bough__os_close(&fd);
    }
    /* 28,800 frames were written; 100 of them are live. */
    printf("largest size %llu, lists %llu\n", (unsigned long long)largest, (unsigned long long)lists);
    ck_assert_uint_gt(lists, 0);
    ck_assert_uint_lt(largest, 6u << 20);
    free(model.pages);
    bough__space_close(space);
}

static void small_transaction(struct harness_random *random, struct bough__layer *layer, struct model *model,
                              enum bough__durability durability)
{
    struct bough__snapshot base = {0};
    struct bough__txn *txn = NULL;
    uint64_t number = 0;
    ASSERT_OK(bough__snapshot_pin(&base, layer));
    ASSERT_OK(bough__txn_begin(&txn, &base));
    ASSERT_OK(bough__txn_set_block_size(txn, model->block_size));
    for (int k = 0; k < 2; k++)
        random_write(random, txn, model, 100);
    ASSERT_OK(bough__txn_commit(txn, durability, &number));
    bough__txn_end(txn);
    bough__snapshot_release(&base);
}

/* One process that never closes, with readers who stay: the file is bounded by what is live and what they see. */
TEST(a_long_life_stays_small)
{
    struct harness_random random = {11};
    struct model model = {.block_size = 512, .pages = calloc(MAX_BLOCKS, 512)};
    struct kept readers[3] = {0};
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    struct stat st = {0};
    for (int i = 0; i < 12000; i++) {
        small_transaction(&random, layer, &model, i % 20 == 0 ? BOUGH__DURABLE : BOUGH__LAZY);
        if (i % 4000 == 100) {
            struct kept *reader = &readers[i / 4000];
            reader->model = copy_model(&model);
            ASSERT_OK(bough__snapshot_pin(&reader->snapshot, layer));
        }
        if (i % 1000 == 0) {
            check_newest(layer, &model);
            for (size_t k = 0; k < COUNT_OF(readers); k++)
                if (readers[k].model.pages != NULL)
                    check_snapshot(&readers[k].snapshot, &readers[k].model);
        }
    }
    ck_assert_int_eq(stat(harness_path("s.bough/layers/1.layer"), &st), 0);
    printf("24,000 frames written, 100 live: %lld bytes\n", (long long)st.st_size);
    /* 100 pages of 512 bytes, as much for each reader, and the log. */
    ck_assert_int_lt(st.st_size, 1 << 20);
    for (size_t k = 0; k < COUNT_OF(readers); k++)
        drop_kept(&readers[k]);
    bough__layer_close(layer);
    layer = open_layer(space, 1, NULL);
    check_newest(layer, &model);
    bough__layer_close(layer);
    free(model.pages);
    bough__space_close(space);
}

static void checkpoint(struct bough__layer *layer)
{
    ASSERT_OK(bough__layer_lock_writer(layer));
    ASSERT_OK(bough__layer_checkpoint(layer, NULL));
    bough__layer_unlock_writer(layer);
}

static int64_t layer_bytes(void)
{
    struct stat st = {0};
    ck_assert_int_eq(stat(harness_path("s.bough/layers/1.layer"), &st), 0);
    return st.st_size;
}

static struct {
    int (*fdatasync)(int fd);
    int (*clock_gettime)(clockid_t clock, struct timespec *out);
    unsigned syncs;
    time_t late_s;
} watch;

static int counted_sync(int fd)
{
    watch.syncs++;
    return watch.fdatasync(fd);
}

static int shifted_clock(clockid_t clock, struct timespec *out)
{
    int rc = watch.clock_gettime(clock, out);
    out->tv_sec += watch.late_s;
    return rc;
}

static void begin_watch(void)
{
    watch.fdatasync = bough__os.fdatasync;
    watch.clock_gettime = bough__os.clock_gettime;
    bough__os.fdatasync = counted_sync;
    bough__os.clock_gettime = shifted_clock;
}

/* Of transactions that nobody wants synced, so that few are known to be dead for good; pages of 64 KiB, whose log is
 * short. A loss of power takes 16 MiB of them at most. */
TEST(a_life_without_syncs_stays_small)
{
    enum { SIZE = 65536 };
    begin_watch();
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    uint8_t *page = malloc(SIZE);
    struct stat st = {0};
    for (int i = 0; i < 800; i++) {
        struct bough__snapshot base = {0};
        struct bough__txn *txn = NULL;
        uint64_t number = 0;
        ASSERT_OK(bough__snapshot_pin(&base, layer));
        ASSERT_OK(bough__txn_begin(&txn, &base));
        ASSERT_OK(bough__txn_set_block_size(txn, SIZE));
        for (uint64_t block = 0; block < 2; block++) {
            memset(page, 1 + i % 200, SIZE);
            ASSERT_OK(bough__txn_write(txn, block, page));
        }
        ASSERT_OK(bough__txn_commit(txn, BOUGH__LAZY, &number));
        bough__txn_end(txn);
        bough__snapshot_release(&base);
    }
    ck_assert_int_eq(stat(harness_path("s.bough/layers/1.layer"), &st), 0);
    ck_assert_int_lt(st.st_size, 3 << 20); /* of 100 MB written */
    ck_assert_uint_ge(watch.syncs, 6);
    ck_assert_uint_lt(watch.syncs, 20);
    bough__layer_close(layer);
    free(page);
    bough__space_close(space);
}

/* A loss of power takes what was written in ten seconds at most, and then what came last. */
TEST(rare_transactions_are_synced_now_and_then)
{
    struct harness_random random = {3};
    struct model model = {.block_size = 512, .pages = calloc(MAX_BLOCKS, 512)};
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    begin_watch();
    small_transaction(&random, layer, &model, BOUGH__DURABLE);
    watch.syncs = 0;
    for (int i = 0; i < 12; i++) {
        small_transaction(&random, layer, &model, BOUGH__LAZY);
        watch.late_s += 3;
        ck_assert_uint_eq(bough__shm_durable(&layer->shm) == bough__shm_newest(&layer->shm), i % 5 == 4);
    }
    ck_assert_uint_eq(watch.syncs, 2);
    check_newest(layer, &model);
    bough__layer_close(layer);
    free(model.pages);
    bough__space_close(space);
}

/* Checkpoints alone make no file longer: neither the lists of free extents, also long ones, nor the logs that they
 * leave behind; also while a reader stays, and when each writer is a new process. */
TEST(checkpoints_take_no_space)
{
    struct harness_random random = {12};
    struct model model = {.block_size = 512, .pages = calloc(MAX_BLOCKS, 512)};
    struct kept reader = {0};
    struct bough__space *space = make_space();
    struct bough__layer *layer = open_layer(space, 1, NULL);
    int64_t size = 0;
    /* Holes between pages that stay: the lists get long. */
    for (uint64_t block = 0; block < MAX_BLOCKS; block++)
        random_transaction(&random, layer, &model);
    for (int i = 0; i < 2000; i++) {
        small_transaction(&random, layer, &model, BOUGH__LAZY);
        checkpoint(layer);
        if (i == 100) {
            reader.model = copy_model(&model);
            ASSERT_OK(bough__snapshot_pin(&reader.snapshot, layer));
        }
        if (i == 200)
            size = layer_bytes();
        if (i % 500 == 450) {
            check_newest(layer, &model);
            check_snapshot(&reader.snapshot, &reader.model);
        }
    }
    printf("%lld bytes after 200 checkpoints, %lld after 2000\n", (long long)size, (long long)layer_bytes());
    ck_assert_int_le(layer_bytes(), size + size / 8);
    drop_kept(&reader);
    for (int i = 0; i < 300; i++) {
        bough__layer_close(layer);
        layer = open_layer(space, 1, NULL);
        small_transaction(&random, layer, &model, BOUGH__LAZY);
        checkpoint(layer);
    }
    check_newest(layer, &model);
    printf("%lld bytes after 300 openings\n", (long long)layer_bytes());
    ck_assert_int_le(layer_bytes(), size + size / 8);
    bough__layer_close(layer);
    free(model.pages);
    bough__space_close(space);
}

/* After a checkpoint each frame is a page of the tree, free, in one of the two areas for lists, or the log's. */
static void count_frames(struct bough__space *space, struct bough__layer *layer)
{
    const struct bough__layer_slot *slot = &layer->slot;
    struct bough__frames list = {0};
    struct live live = {.number = 1, .free = &list};
    uint64_t free_count = 0, list_count = slot->list_areas[0].frame_count + slot->list_areas[1].frame_count;
    uint64_t log_count = slot->log_offset < BOUGH__LAYER_FRAMES_OFFSET ? 0 : slot->log_size / layer->block_size;
    ASSERT_OK(bough__frames_load(&list, layer->fd, "layer", slot, layer->block_size));
    ASSERT_OK(bough__map_walk(space->nodes, &slot->tree, 0, check_live, &live));
    for (size_t i = 0; i < list.count; i++)
        free_count += list.extents[i].count;
    ck_assert_msg(live.count + free_count + list_count + log_count == slot->frame_count,
                  "%llu live, %llu free, %llu of lists, %llu of the log; %llu in all", (unsigned long long)live.count,
                  (unsigned long long)free_count, (unsigned long long)list_count, (unsigned long long)log_count,
                  (unsigned long long)slot->frame_count);
    bough__frames_release(&list);
}

static void write_transaction(struct harness_random *random, struct bough__layer *layer, struct model *model,
                              uint64_t writes)
{
    struct bough__snapshot base = {0};
    struct bough__txn *txn = NULL;
    uint64_t number = 0;
    ASSERT_OK(bough__snapshot_pin(&base, layer));
    ASSERT_OK(bough__txn_begin(&txn, &base));
    ASSERT_OK(bough__txn_set_block_size(txn, model->block_size));
    for (uint64_t i = 0; i < writes; i++) {
        uint64_t block = harness_below(random, MAX_BLOCKS);
        uint8_t *page = model->pages + block * model->block_size;
        harness_fill(random, page, model->block_size);
        ASSERT_OK(bough__txn_write(txn, block, page));
        if (model->size_bytes < (block + 1) * model->block_size)
            model->size_bytes = (block + 1) * model->block_size;
    }
    ASSERT_OK(bough__txn_commit(txn, harness_below(random, 2) ? BOUGH__DURABLE : BOUGH__LAZY, &number));
    bough__txn_end(txn);
    bough__snapshot_release(&base);
}

TEST(no_frame_is_lost)
{
    struct harness_random random = {14};
    static const uint32_t sizes[] = {512, 1024, 4096};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct model model = {.block_size = sizes[i], .pages = calloc(MAX_BLOCKS, sizes[i])};
        harness_remove_tree(harness_path("s.bough"));
        struct bough__space *space = make_space();
        struct bough__layer *layer = open_layer(space, 1, NULL);
        for (int round = 0; round < 60; round++) {
            /* Now and then so many that the log needs further chunks. */
            uint64_t count = 1 + harness_below(&random, round % 20 == 0 ? 900 : 12);
            for (uint64_t k = 0; k < count; k++)
                write_transaction(&random, layer, &model, 1 + harness_below(&random, k % 50 == 0 ? MAX_BLOCKS : 5));
            /* Pages that become zeros, or are cut off, in the transaction that wrote them. */
            random_transaction(&random, layer, &model);
            checkpoint(layer);
            count_frames(space, layer);
        }
        check_newest(layer, &model);
        bough__layer_close(layer);
        bough__space_close(space);
        free(model.pages);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write-one") == 0)
        return write_one(argv[2]);
    const struct harness_case cases[] = {CASE(model),           CASE(forks_are_independent), CASE(one_writer_at_a_time),
                                         CASE(two_processes),   CASE(damaged_log_end),       CASE(log_is_bounded),
                                         CASE(frames_are_used_again),
                                         CASE(a_long_life_stays_small),
                                         CASE(a_life_without_syncs_stays_small),
        CASE(rare_transactions_are_synced_now_and_then),
                                         CASE(checkpoints_take_no_space),
                                         CASE(no_frame_is_lost)};
    return harness_run("layer", cases, COUNT_OF(cases));
}
