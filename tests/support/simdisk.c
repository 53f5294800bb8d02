/* simdisk.c - see simdisk.h.
 *
 * A node stands for an inode. A file's node has the durable bytes and the operations after them; names are entries of
 * directory nodes, durable ones in a list and later ones as operations in the order in which they came. A node is found
 * by the inode number that the real file system gave it; since numbers are used again, a node that is created hides an
 * older one of the same number, which names and operations may still refer to.
 */
#include "simdisk.h"

#include "harness.h"
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SECTOR_SIZE = 512, PAGE_SIZE_BYTES = 4096, PATH_SIZE = 1024, NAME_SIZE = 256 };
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

struct data_op {
    bool is_truncate;
    uint64_t offset; /* a truncation's new size */
    size_t len;
    uint8_t *bytes;
};

struct node {
    struct node *next;
    ino_t inode;
    mode_t mode;
    bool is_directory;
    bool is_hidden; /* its inode number belongs to another node now */
    uint8_t *durable;
    size_t durable_len;
    struct data_op *ops;
    size_t op_count, op_capacity;
    char mapped_at[PATH_SIZE];  /* shared and writable memory, by this name; else empty */
    char written_at[PATH_SIZE]; /* while the directory is rewritten: the first of its names */
};

struct entry {
    struct node *directory, *child;
    char name[NAME_SIZE];
};

enum name_kind { NAME_ADD, NAME_REMOVE, NAME_RENAME };

struct name_op {
    enum name_kind kind;
    struct entry from, to; /* to: renames alone */
};

struct entries {
    struct entry *items;
    size_t count, capacity;
};

struct disk {
    char root[PATH_SIZE];
    uint64_t boot;
    struct node *nodes;
    struct entries durable;
    struct name_op *name_ops;
    size_t name_op_count, name_op_capacity;
    uint64_t counts[4];
    unsigned crash_steps;
    uint64_t crash_nth;
    enum simdisk_loss crash_loss;
    uint64_t crash_seed;
    uint64_t fail_nth, fail_seed;
};

/* All of it lives in memory that forked processes share, so that what one process left unsynced when it was killed is
 * still unsynced for the next one. The memory stands at one address in all of them, and pointers into it are good. */
static struct disk *disk;
static uint8_t *arena;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct bough__os_calls real;
static bool is_installed;

static void die(const char *what)
{
    fprintf(stderr, "simdisk: %s: %s\n", what, strerror(errno));
    abort();
}

/* ---- shared memory: sizes are powers of two, freed pieces wait in a list for their size ---- */

enum { ARENA_CLASSES = 40 };
#define ARENA_SIZE ((size_t)4 << 30) /* address space; pages are taken as they are used */

struct piece {
    size_t class;
    struct piece *next; /* while it is free; the caller's bytes begin here otherwise */
};

struct arena_head {
    size_t used;
    struct piece *free[ARENA_CLASSES];
    struct disk disk;
};
#define PIECE_HEAD offsetof(struct piece, next)

static void arena_reset(void)
{
    struct arena_head *head = (struct arena_head *)(void *)arena;
    memset(head->free, 0, sizeof head->free);
    head->used = (sizeof *head + 63) & ~(size_t)63;
}

static void arena_make(void)
{
    if (arena)
        return;
    void *map = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        die("mmap");
    arena = map;
    disk = &((struct arena_head *)map)->disk;
    arena_reset();
}

static void *take(size_t len)
{
    struct arena_head *head = (struct arena_head *)(void *)arena;
    size_t class = 6;
    while (((size_t)1 << class) < len + PIECE_HEAD)
        class++;
    struct piece *piece = head->free[class];
    if (piece) {
        head->free[class] = piece->next;
    } else {
        piece = (struct piece *)(void *)(arena + head->used);
        head->used += (size_t)1 << class;
        if (head->used > ARENA_SIZE)
            die("simulated disk is full");
    }
    piece->class = class;
    return (uint8_t *)piece + PIECE_HEAD;
}

static void give_back(void *bytes)
{
    if (!bytes)
        return;
    struct arena_head *head = (struct arena_head *)(void *)arena;
    struct piece *piece = (struct piece *)(void *)((uint8_t *)bytes - PIECE_HEAD);
    piece->next = head->free[piece->class];
    head->free[piece->class] = piece;
}

/* `old` holds old_len bytes that count. */
static void *enlarge(void *old, size_t old_len, size_t len)
{
    struct piece *piece = old ? (struct piece *)(void *)((uint8_t *)old - PIECE_HEAD) : NULL;
    if (piece && ((size_t)1 << piece->class) >= len + PIECE_HEAD)
        return old;
    void *bytes = take(len);
    if (old)
        memcpy(bytes, old, old_len);
    give_back(old);
    return bytes;
}

static void *grow(void *items, size_t *capacity, size_t count, size_t item_size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : 16;
    return enlarge(items, count * item_size, *capacity * item_size);
}

static void *copy_bytes(const void *bytes, size_t len)
{
    void *copy = take(len);
    memcpy(copy, bytes, len);
    return copy;
}

static void join(char out[PATH_SIZE], const char *directory, const char *name)
{
    if (snprintf(out, PATH_SIZE, "%s/%s", directory, name) >= PATH_SIZE)
        die("path too long");
}

/* ---- nodes and entries ---- */

static struct node *node_by_inode(ino_t inode)
{
    for (struct node *node = disk->nodes; node; node = node->next)
        if (node->inode == inode && !node->is_hidden)
            return node;
    return NULL;
}

static struct node *node_add(const struct stat *info)
{
    struct node *old = node_by_inode(info->st_ino);
    if (old)
        old->is_hidden = true;
    struct node *node = take(sizeof *node);
    memset(node, 0, sizeof *node);
    node->inode = info->st_ino;
    node->mode = info->st_mode & 07777;
    node->is_directory = S_ISDIR(info->st_mode);
    node->next = disk->nodes;
    disk->nodes = node;
    return node;
}

static struct node *node_of_fd(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 ? node_by_inode(info.st_ino) : NULL;
}

/* The directory node and last name of a path; false when it is not below the simulated directory. */
static bool split(struct entry *out, const char *path)
{
    char parent[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || strlen(slash + 1) >= NAME_SIZE || (size_t)(slash - path) >= sizeof parent)
        return false;
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = 0;
    struct stat info;
    out->child = NULL;
    out->directory = stat(parent, &info) == 0 ? node_by_inode(info.st_ino) : NULL;
    snprintf(out->name, sizeof out->name, "%s", slash + 1);
    return out->directory != NULL;
}

static struct node *node_of_path(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 ? node_by_inode(info.st_ino) : NULL;
}

static struct entry *entry_find(struct entries *entries, const struct entry *wanted)
{
    for (size_t i = 0; i < entries->count; i++)
        if (entries->items[i].directory == wanted->directory && strcmp(entries->items[i].name, wanted->name) == 0)
            return &entries->items[i];
    return NULL;
}

static void entry_set(struct entries *entries, const struct entry *entry)
{
    struct entry *there = entry_find(entries, entry);
    if (there) {
        there->child = entry->child;
        return;
    }
    entries->items = grow(entries->items, &entries->capacity, entries->count, sizeof *entries->items);
    entries->items[entries->count++] = *entry;
}

static void entry_remove(struct entries *entries, const struct entry *entry)
{
    struct entry *there = entry_find(entries, entry);
    if (there && there->child == entry->child)
        *there = entries->items[--entries->count];
}

static void name_op_apply(struct entries *entries, const struct name_op *op)
{
    if (op->kind != NAME_ADD)
        entry_remove(entries, &op->from);
    if (op->kind == NAME_ADD)
        entry_set(entries, &op->from);
    if (op->kind == NAME_RENAME)
        entry_set(entries, &op->to);
}

static void name_op_add(const struct name_op *op)
{
    disk->name_ops = grow(disk->name_ops, &disk->name_op_capacity, disk->name_op_count, sizeof *disk->name_ops);
    disk->name_ops[disk->name_op_count++] = *op;
}

static void data_op_add(struct node *node, bool is_truncate, uint64_t offset, const void *bytes, size_t len)
{
    node->ops = grow(node->ops, &node->op_capacity, node->op_count, sizeof *node->ops);
    node->ops[node->op_count++] =
        (struct data_op){is_truncate, offset, len, is_truncate ? NULL : copy_bytes(bytes, len)};
}

static void data_ops_clear(struct node *node)
{
    for (size_t i = 0; i < node->op_count; i++)
        give_back(node->ops[i].bytes);
    node->op_count = 0;
}

/* ---- what a disk may hold ---- */

static uint64_t size_after(const struct node *node, size_t op_count)
{
    uint64_t size = node->durable_len;
    for (size_t i = 0; i < op_count; i++) {
        const struct data_op *op = &node->ops[i];
        if (op->is_truncate)
            size = op->offset;
        else if (op->offset + op->len > size)
            size = op->offset + op->len;
    }
    return size;
}

/* Bytes start .. end of the file after its first data_cut operations, as far as they are writes; truncations count up
 * to size_cut, since the size has a life of its own. */
static void replay(uint8_t *out, const struct node *node, uint64_t start, uint64_t end, size_t data_cut,
                   size_t size_cut)
{
    memset(out, 0, (size_t)(end - start));
    if (start < node->durable_len)
        memcpy(out, node->durable + start, (size_t)((end < node->durable_len ? end : node->durable_len) - start));
    for (size_t i = 0; i < node->op_count; i++) {
        const struct data_op *op = &node->ops[i];
        uint64_t op_end = op->is_truncate ? UINT64_MAX : op->offset + op->len;
        uint64_t from = op->offset > start ? op->offset : start, to = op_end < end ? op_end : end;
        if (from >= to)
            continue;
        if (op->is_truncate && i < size_cut)
            memset(out + (from - start), 0, (size_t)(to - from));
        else if (!op->is_truncate && i < data_cut)
            memcpy(out + (from - start), op->bytes + (from - op->offset), (size_t)(to - from));
    }
}

static bool touches(const struct data_op *op, uint64_t start, uint64_t end)
{
    return op->is_truncate ? op->offset < end : op->offset < end && op->offset + op->len > start;
}

/* How many versions the bytes start .. end have had since the last sync, besides the durable one. */
static size_t count_versions(const struct node *node, uint64_t start, uint64_t end)
{
    size_t count = 0;
    for (size_t i = 0; i < node->op_count; i++)
        count += touches(&node->ops[i], start, end);
    return count;
}

/* The number of operations up to and with the one that made the given version; 0 for the durable one. */
static size_t cut_of_version(const struct node *node, uint64_t start, uint64_t end, size_t version)
{
    size_t i = 0;
    for (; version > 0; i++)
        version -= touches(&node->ops[i], start, end);
    return i;
}

struct choice {
    enum simdisk_loss loss;
    size_t cut;      /* of the size; of the data where that goes with it */
    uint64_t unit;   /* bytes that are chosen together */
};

static struct choice choose(const struct node *node, enum simdisk_loss loss, struct harness_random *random)
{
    struct choice choice = {loss, 0, SECTOR_SIZE};
    if (loss == SIMDISK_RANDOM)
        choice.loss = (enum simdisk_loss)(1 + harness_below(random, SIMDISK_LOSSES - 1));
    if (choice.loss == SIMDISK_KEEP_ALL)
        choice.cut = node->op_count;
    else if (choice.loss != SIMDISK_LOSE_ALL)
        choice.cut = harness_below(random, 3) ? (size_t)harness_below(random, node->op_count + 1) : node->op_count;
    if (choice.loss == SIMDISK_PAGES)
        choice.unit = PAGE_SIZE_BYTES;
    return choice;
}

static size_t data_cut(const struct choice *choice, const struct node *node, uint64_t start, uint64_t end,
                       struct harness_random *random)
{
    size_t versions = count_versions(node, start, end);
    if (versions == 0)
        return 0;
    switch (choice->loss) {
    case SIMDISK_TORN:
    case SIMDISK_PAGES:
    case SIMDISK_GARBAGE:
        return cut_of_version(node, start, end, (size_t)harness_below(random, versions + 1));
    case SIMDISK_TORN_LAST:
        return choice->cut < node->op_count ? choice->cut + (size_t)harness_below(random, 2) : choice->cut;
    default:
        return choice->cut;
    }
}

/* Replaces the durable bytes by some that a disk may hold, and forgets the operations. */
static void settle(struct node *node, enum simdisk_loss loss, struct harness_random *random)
{
    if (node->op_count == 0)
        return;
    struct choice choice = choose(node, loss, random);
    size_t size_cut = choice.cut;
    if (choice.loss == SIMDISK_TORN_LAST && size_cut < node->op_count)
        size_cut += (size_t)harness_below(random, 2);
    uint64_t size = size_after(node, size_cut);
    uint8_t *bytes = take((size_t)size);
    for (uint64_t start = 0; start < size; start += choice.unit) {
        uint64_t end = start + choice.unit < size ? start + choice.unit : size;
        size_t cut = data_cut(&choice, node, start, end, random);
        replay(bytes + start, node, start, end, cut, size_cut);
        if (choice.loss == SIMDISK_GARBAGE && cut == 0 && start >= node->durable_len)
            harness_fill(random, bytes + start, (size_t)(end - start));
    }
    give_back(node->durable);
    node->durable = bytes;
    node->durable_len = (size_t)size;
    data_ops_clear(node);
}

/* A sync: everything counts. */
static void apply_all(struct node *node)
{
    uint64_t needed = node->durable_len;
    for (size_t i = 1; i <= node->op_count; i++)
        needed = size_after(node, i) > needed ? size_after(node, i) : needed;
    uint8_t *bytes = enlarge(node->durable, node->durable_len, (size_t)needed);
    memset(bytes + node->durable_len, 0, needed - node->durable_len);
    for (size_t i = 0; i < node->op_count; i++) {
        const struct data_op *op = &node->ops[i];
        if (op->is_truncate)
            memset(bytes + op->offset, 0, op->offset < needed ? needed - op->offset : 0);
        else
            memcpy(bytes + op->offset, op->bytes, op->len);
    }
    node->durable = bytes;
    node->durable_len = (size_t)size_after(node, node->op_count);
    data_ops_clear(node);
}

static void settle_names(enum simdisk_loss loss, struct harness_random *random)
{
    enum simdisk_loss chosen = loss;
    if (loss == SIMDISK_RANDOM)
        chosen = (enum simdisk_loss)(1 + harness_below(random, SIMDISK_LOSSES - 1));
    size_t cut = (size_t)harness_below(random, disk->name_op_count + 1);
    for (size_t i = 0; i < disk->name_op_count; i++) {
        bool keep = chosen == SIMDISK_KEEP_ALL;
        if (chosen == SIMDISK_PREFIX || chosen == SIMDISK_TORN_LAST)
            keep = i < cut;
        else if (chosen != SIMDISK_KEEP_ALL && chosen != SIMDISK_LOSE_ALL)
            keep = harness_below(random, 2);
        if (keep)
            name_op_apply(&disk->durable, &disk->name_ops[i]);
    }
    disk->name_op_count = 0;
}

/* ---- rewriting the directory ---- */

static void write_node(struct node *node, const char *path);

static void write_children(const struct node *directory, const char *path)
{
    for (size_t i = 0; i < disk->durable.count; i++) {
        const struct entry *entry = &disk->durable.items[i];
        char child[PATH_SIZE];
        if (entry->directory != directory)
            continue;
        join(child, path, entry->name);
        write_node(entry->child, child);
    }
}

static void write_node(struct node *node, const char *path)
{
    if (node->written_at[0]) {
        /* A second name: a link of a file. A directory has one place; the other was a rename that was dropped. */
        if (!node->is_directory && link(node->written_at, path) != 0)
            die(path);
        return;
    }
    snprintf(node->written_at, sizeof node->written_at, "%s", path);
    if (node->is_directory) {
        if (mkdir(path, 0700) != 0)
            die(path);
        write_children(node, path);
    } else {
        harness_write_file(path, node->durable ? node->durable : (const uint8_t *)"", node->durable_len);
    }
    if (chmod(path, node->mode) != 0)
        die(path);
}

static void remove_children(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        die(path);
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
        char child[PATH_SIZE];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        join(child, path, entry->d_name);
        harness_remove_tree(child);
    }
    closedir(directory);
}

/* ---- reading the directory ---- */

static void load(struct node *file, const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0)
        die(path);
    file->durable_len = (size_t)info.st_size;
    file->durable = take(file->durable_len);
    for (size_t done = 0; done < file->durable_len;) {
        ssize_t count = read(fd, file->durable + done, file->durable_len - done);
        if (count <= 0)
            die(path);
        done += (size_t)count;
    }
    close(fd);
}

static void scan(struct node *directory, const char *path)
{
    DIR *stream = opendir(path);
    if (!stream)
        die(path);
    for (struct dirent *item = readdir(stream); item; item = readdir(stream)) {
        char child_path[PATH_SIZE];
        struct stat info;
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        join(child_path, path, item->d_name);
        if (lstat(child_path, &info) != 0)
            die(child_path);
        struct node *child = node_by_inode(info.st_ino);
        bool is_new = !child;
        if (is_new)
            child = node_add(&info);
        struct entry entry = {directory, child, ""};
        snprintf(entry.name, sizeof entry.name, "%s", item->d_name);
        entry_set(&disk->durable, &entry);
        if (is_new && S_ISDIR(info.st_mode))
            scan(child, child_path);
        else if (is_new && S_ISREG(info.st_mode))
            load(child, child_path);
    }
    closedir(stream);
}

static void forget_everything(void)
{
    arena_reset();
    disk->nodes = NULL;
    disk->durable = (struct entries){NULL, 0, 0};
    disk->name_ops = NULL;
    disk->name_op_count = disk->name_op_capacity = 0;
}

static void start_over(void)
{
    struct stat info;
    forget_everything();
    if (stat(disk->root, &info) != 0)
        die(disk->root);
    scan(node_add(&info), disk->root);
}

/* What is mapped and shared was never synced: the kernel may have written any of it. */
static void note_mapped(void)
{
    for (struct node *node = disk->nodes; node; node = node->next) {
        if (!node->mapped_at[0] || node_of_path(node->mapped_at) != node)
            continue;
        size_t len = 0;
        uint8_t *bytes = harness_read_file(node->mapped_at, &len);
        data_op_add(node, false, 0, bytes, len);
        free(bytes);
    }
}

static void power_loss(enum simdisk_loss loss, uint64_t seed)
{
    struct harness_random random = {seed};
    note_mapped();
    for (struct node *node = disk->nodes; node; node = node->next)
        if (!node->is_directory)
            settle(node, loss, &random);
    settle_names(loss, &random);
    struct stat info;
    struct node *root = stat(disk->root, &info) == 0 ? node_by_inode(info.st_ino) : NULL;
    if (!root)
        die(disk->root);
    remove_children(disk->root);
    for (struct node *node = disk->nodes; node; node = node->next)
        node->written_at[0] = 0;
    write_children(root, disk->root);
    start_over();
}

/* ---- steps ---- */

static uint64_t count_steps(unsigned steps)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < COUNT_OF(disk->counts); i++)
        if (steps & (1u << i))
            sum += disk->counts[i];
    return sum;
}

/* Called with the mutex held, before the step is taken. */
static void step(enum simdisk_step kind)
{
    for (unsigned i = 0; i < COUNT_OF(disk->counts); i++)
        if (kind == 1u << i)
            disk->counts[i]++;
    if (disk->crash_nth && (disk->crash_steps & kind) && count_steps(disk->crash_steps) == disk->crash_nth) {
        if (disk->crash_loss == SIMDISK_KILL)
            _exit(SIMDISK_KILLED);
        power_loss(disk->crash_loss, disk->crash_seed);
        _exit(SIMDISK_EXIT);
    }
}

/* ---- the calls ---- */

static int open_boot_id(void)
{
    char text[64];
    int fd = memfd_create("boot_id", MFD_CLOEXEC);
    int len = snprintf(text, sizeof text, "00000000-0000-4000-8000-%012llx\n", (unsigned long long)disk->boot + 1);
    if (fd >= 0 && write(fd, text, (size_t)len) != len)
        die("memfd");
    return fd;
}

static int sim_open_locked(const char *path, int flags, mode_t mode)
{
    struct entry entry;
    if (strcmp(path, BOOT_ID_PATH) == 0)
        return open_boot_id();
    if ((flags & O_TMPFILE) == O_TMPFILE) { /* files without a name are not simulated; callers have another way */
        errno = EOPNOTSUPP;
        return -1;
    }
    if (!(flags & (O_CREAT | O_TRUNC)) || !split(&entry, path))
        return real.open(path, flags, mode);
    struct stat info;
    bool exists = lstat(path, &info) == 0;
    if (!exists)
        step(SIMDISK_NAME);
    else if (flags & O_TRUNC)
        step(SIMDISK_TRUNCATE);
    int fd = real.open(path, flags, mode);
    int error = errno;
    if (fd >= 0 && !exists && fstat(fd, &info) == 0) {
        entry.child = node_add(&info);
        name_op_add(&(struct name_op){.kind = NAME_ADD, .from = entry});
    } else if (fd >= 0 && (flags & O_TRUNC) && node_of_fd(fd)) {
        data_op_add(node_of_fd(fd), true, 0, NULL, 0);
    }
    errno = error;
    return fd;
}

static int sim_open(const char *path, int flags, mode_t mode)
{
    pthread_mutex_lock(&mutex);
    int fd = sim_open_locked(path, flags, mode);
    pthread_mutex_unlock(&mutex);
    return fd;
}

static ssize_t sim_pwrite(int fd, const void *buffer, size_t len, off_t offset)
{
    pthread_mutex_lock(&mutex);
    struct node *node = node_of_fd(fd);
    if (node)
        step(SIMDISK_WRITE);
    ssize_t written = real.pwrite(fd, buffer, len, offset);
    if (node && written > 0)
        data_op_add(node, false, (uint64_t)offset, buffer, (size_t)written);
    pthread_mutex_unlock(&mutex);
    return written;
}

static int sim_ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&mutex);
    struct node *node = node_of_fd(fd);
    if (node)
        step(SIMDISK_TRUNCATE);
    int result = real.ftruncate(fd, size);
    if (node && result == 0)
        data_op_add(node, true, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return result;
}

/* To whoever reads the file afterwards, zeros were written. */
static int sim_fallocate(int fd, int mode, off_t offset, off_t len)
{
    static const uint8_t zeros[65536];
    pthread_mutex_lock(&mutex);
    struct node *node = node_of_fd(fd);
    if (node)
        step(SIMDISK_PUNCH);
    int result = real.fallocate(fd, mode, offset, len);
    struct stat st = {0};
    if (node && result == 0 && real.fstat(fd, &st) == 0) {
        off_t end = offset + len < st.st_size ? offset + len : st.st_size;
        for (off_t at = offset; at < end; at += (off_t)sizeof zeros)
            data_op_add(node, false, (uint64_t)at, zeros,
                        end - at < (off_t)sizeof zeros ? (size_t)(end - at) : sizeof zeros);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static void sync_directory(const struct node *directory)
{
    size_t kept = 0;
    for (size_t i = 0; i < disk->name_op_count; i++) {
        struct name_op *op = &disk->name_ops[i];
        const struct node *decides = op->kind == NAME_RENAME ? op->to.directory : op->from.directory;
        if (decides == directory)
            name_op_apply(&disk->durable, op);
        else
            disk->name_ops[kept++] = *op;
    }
    disk->name_op_count = kept;
}

static int sync_node(struct node *node)
{
    struct harness_random random = {disk->fail_seed};
    if (disk->fail_nth && disk->counts[1] == disk->fail_nth) {
        if (!node->is_directory)
            settle(node, SIMDISK_RANDOM, &random);
        errno = EIO;
        return -1;
    }
    if (node->is_directory)
        sync_directory(node);
    else
        apply_all(node);
    return 0;
}

/* Durability is simulated, so a real sync would only cost time. */
static int sim_sync(int fd)
{
    pthread_mutex_lock(&mutex);
    struct node *node = node_of_fd(fd);
    int result = 0;
    if (node) {
        step(SIMDISK_SYNC);
        result = sync_node(node);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static int remove_name(const char *path, int (*call)(const char *))
{
    pthread_mutex_lock(&mutex);
    struct name_op op = {.kind = NAME_REMOVE};
    bool is_ours = split(&op.from, path);
    if (is_ours) {
        step(SIMDISK_NAME);
        op.from.child = node_of_path(path);
    }
    int result = call(path);
    if (is_ours && result == 0)
        name_op_add(&op);
    pthread_mutex_unlock(&mutex);
    return result;
}

static int sim_unlink(const char *path)
{
    return remove_name(path, real.unlink);
}

static int sim_rmdir(const char *path)
{
    return remove_name(path, real.rmdir);
}

static int sim_rename(const char *from, const char *to)
{
    pthread_mutex_lock(&mutex);
    struct name_op op = {.kind = NAME_RENAME};
    bool is_ours = split(&op.from, from) && split(&op.to, to);
    if (is_ours) {
        step(SIMDISK_NAME);
        op.from.child = op.to.child = node_of_path(from);
    }
    int result = real.rename(from, to);
    if (is_ours && result == 0)
        name_op_add(&op);
    pthread_mutex_unlock(&mutex);
    return result;
}

static int sim_link(const char *from, const char *to)
{
    pthread_mutex_lock(&mutex);
    struct name_op op = {.kind = NAME_ADD};
    bool is_ours = split(&op.from, to);
    if (is_ours) {
        step(SIMDISK_NAME);
        op.from.child = node_of_path(from);
    }
    int result = real.link(from, to);
    if (is_ours && result == 0)
        name_op_add(&op);
    pthread_mutex_unlock(&mutex);
    return result;
}

static int sim_mkdir(const char *path, mode_t mode)
{
    pthread_mutex_lock(&mutex);
    struct name_op op = {.kind = NAME_ADD};
    bool is_ours = split(&op.from, path);
    if (is_ours)
        step(SIMDISK_NAME);
    int result = real.mkdir(path, mode);
    struct stat info;
    if (is_ours && result == 0 && lstat(path, &info) == 0) {
        op.from.child = node_add(&info);
        name_op_add(&op);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static void note_path(struct node *node, int fd)
{
    char link_path[64];
    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link_path, node->mapped_at, sizeof node->mapped_at - 1);
    node->mapped_at[len > 0 ? len : 0] = 0;
}

static void *sim_mmap(void *address, size_t len, int protection, int flags, int fd, off_t offset)
{
    pthread_mutex_lock(&mutex);
    struct node *node = fd >= 0 ? node_of_fd(fd) : NULL;
    if (node && (protection & PROT_WRITE) && (flags & MAP_SHARED))
        note_path(node, fd);
    void *result = real.mmap(address, len, protection, flags, fd, offset);
    pthread_mutex_unlock(&mutex);
    return result;
}

/* ---- public ---- */

static void put_calls(void)
{
    if (is_installed)
        return;
    is_installed = true;
    real = bough__os;
    bough__os.open = sim_open;
    bough__os.pwrite = sim_pwrite;
    bough__os.ftruncate = sim_ftruncate;
    bough__os.fallocate = sim_fallocate;
    bough__os.fdatasync = sim_sync;
    bough__os.fsync = sim_sync;
    bough__os.unlink = sim_unlink;
    bough__os.rmdir = sim_rmdir;
    bough__os.rename = sim_rename;
    bough__os.link = sim_link;
    bough__os.mkdir = sim_mkdir;
    bough__os.mmap = sim_mmap;
}

void simdisk_install(const char *directory, uint64_t boot)
{
    arena_make();
    put_calls();
    snprintf(disk->root, sizeof disk->root, "%s", directory);
    disk->boot = boot;
    memset(disk->counts, 0, sizeof disk->counts);
    disk->crash_nth = disk->fail_nth = 0;
    start_over();
}

void simdisk_share(void)
{
    arena_make();
}

void simdisk_resume(uint64_t boot)
{
    put_calls();
    disk->boot = boot;
    memset(disk->counts, 0, sizeof disk->counts);
    disk->crash_nth = disk->fail_nth = 0;
}

void simdisk_crash_at(unsigned steps, uint64_t nth, enum simdisk_loss loss, uint64_t seed)
{
    pthread_mutex_lock(&mutex);
    disk->crash_steps = steps;
    disk->crash_nth = nth ? count_steps(steps) + nth : 0;
    disk->crash_loss = loss;
    disk->crash_seed = seed;
    pthread_mutex_unlock(&mutex);
}

void simdisk_fail_sync_at(uint64_t nth, uint64_t seed)
{
    pthread_mutex_lock(&mutex);
    disk->fail_nth = nth ? disk->counts[1] + nth : 0;
    disk->fail_seed = seed;
    pthread_mutex_unlock(&mutex);
}

uint64_t simdisk_count(unsigned steps)
{
    pthread_mutex_lock(&mutex);
    uint64_t count = count_steps(steps);
    pthread_mutex_unlock(&mutex);
    return count;
}

void simdisk_power_loss(enum simdisk_loss loss, uint64_t seed)
{
    pthread_mutex_lock(&mutex);
    power_loss(loss, seed);
    pthread_mutex_unlock(&mutex);
}

const char *simdisk_loss_name(enum simdisk_loss loss)
{
    static const char *const names[] = {"random",    "lose all", "keep all", "prefix",
                                        "torn",      "torn last", "pages",   "garbage", "?", "kill"};
    return names[loss];
}
