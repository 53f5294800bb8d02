/* marks.c - which nodes and frames are referred to; see marks.h. */
#include "marks.h"

#include "error.h"
#include "layer_file.h"
#include "nodes.h"
#include "os.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Marked between two calls of the callback. */
#define TELL_BYTES (4u << 20)

/* One file's bits. */
struct file_marks {
    uint32_t number; /* 0: an empty place of the table */
    enum bough__file_kind kind;
    uint8_t *bits;
    uint64_t capacity;   /* bits that there is room for */
    uint64_t limit;      /* cells or frames that the file has room for, when it was looked at last */
    uint32_t unit_bytes; /* of a node or frame */
    uint64_t count;      /* bits that are set */
};

struct bough__marks {
    struct bough__space *space;
    struct file_marks *files; /* a hash table with empty places */
    size_t file_count, file_capacity;
    uint64_t bytes, told_bytes;
    const struct bough__marks *others; /* or NULL */
    bough__marks_callback *callback; /* or NULL */
    void *context;
};

/* ---- files ---- */

static size_t place_of(const struct bough__marks *marks, enum bough__file_kind kind, uint32_t number)
{
    size_t at = (number * 0x9e3779b1u ^ (uint32_t)kind) & (marks->file_capacity - 1);
    while (marks->files[at].number != 0 && (marks->files[at].number != number || marks->files[at].kind != kind))
        at = (at + 1) & (marks->file_capacity - 1);
    return at;
}

static const struct file_marks *find_file(const struct bough__marks *marks, enum bough__file_kind kind, uint32_t number)
{
    const struct file_marks *file = &marks->files[place_of(marks, kind, number)];
    return file->number != 0 ? file : NULL;
}

static int grow_table(struct bough__marks *marks)
{
    struct bough__marks larger = *marks;
    larger.file_capacity = marks->file_capacity != 0 ? 2 * marks->file_capacity : 16;
    larger.files = bough__alloc(larger.file_capacity * sizeof *larger.files);
    if (larger.files == NULL)
        return bough__fail_memory();
    for (size_t i = 0; i < marks->file_capacity; i++)
        if (marks->files[i].number != 0)
            larger.files[place_of(&larger, marks->files[i].kind, marks->files[i].number)] = marks->files[i];
    free(marks->files);
    *marks = larger;
    return BOUGH_OK;
}

/* How many cells or frames there is room for in the file; of a layer, what size its frames have, too. */
static int look_at_file(const struct bough__marks *marks, struct file_marks *file)
{
    char name[BOUGH__FILE_NAME_SIZE];
    struct bough__layer_identity identity = {0};
    struct stat st = {0};
    int fd = -1;
    int rc = BOUGH_OK;
    if (file->kind == BOUGH__LAYER_FILE && file->unit_bytes == 0) {
        rc = bough__layer_file_open(&fd, &identity, marks->space, file->number, true);
        file->unit_bytes = identity.block_size;
        bough__os_close(&fd);
    }
    bough__file_name(name, file->kind, file->number);
    if (rc == BOUGH_NOT_FOUND)
        return bough__fail(BOUGH_CORRUPT, "%s/%s is missing", marks->space->directory, name);
    char *path = bough__format("%s/%s", marks->space->directory, name);
    if (path == NULL)
        return bough__fail_memory();
    if (rc == BOUGH_OK && bough__os.lstat(path, &st) != 0)
        rc = bough__fail_errno("look at", path);
    free(path);
    if (rc != BOUGH_OK)
        return rc == BOUGH_NOT_FOUND ? bough__fail(BOUGH_CORRUPT, "%s is missing", name) : rc;
    uint64_t size = (uint64_t)st.st_size;
    if (file->kind == BOUGH__NODE_FILE)
        file->limit = size / BOUGH__NODE_SIZE;
    else
        file->limit = size < BOUGH__LAYER_FRAMES_OFFSET ? 0 : (size - BOUGH__LAYER_FRAMES_OFFSET) / file->unit_bytes;
    return BOUGH_OK;
}

static int need_file(struct file_marks **out, struct bough__marks *marks, enum bough__file_kind kind, uint32_t number)
{
    int rc = 4 * (marks->file_count + 1) > 3 * marks->file_capacity ? grow_table(marks) : BOUGH_OK;
    if (rc != BOUGH_OK)
        return rc;
    *out = &marks->files[place_of(marks, kind, number)];
    if ((*out)->number != 0)
        return BOUGH_OK;
    struct file_marks fresh = {
        .number = number, .kind = kind, .unit_bytes = kind == BOUGH__NODE_FILE ? BOUGH__NODE_SIZE : 0};
    rc = look_at_file(marks, &fresh);
    if (rc == BOUGH_OK) {
        **out = fresh;
        marks->file_count++;
    }
    return rc;
}

/* ---- bits ---- */

static bool has_bit(const struct file_marks *file, uint64_t index)
{
    return index < file->capacity && (file->bits[index / 8] >> (index % 8) & 1);
}

/* Room up to what the file holds: a place beyond its end must not decide how much memory is taken. */
static int make_room(struct bough__marks *marks, struct file_marks *file, uint64_t index)
{
    char name[BOUGH__FILE_NAME_SIZE];
    int rc = index < file->limit ? BOUGH_OK : look_at_file(marks, file); /* it may have grown */
    if (rc != BOUGH_OK)
        return rc;
    bough__file_name(name, file->kind, file->number);
    if (index >= file->limit)
        return bough__fail(BOUGH_CORRUPT, "%s/%s ends before %s %" PRIu64, marks->space->directory, name,
                           file->kind == BOUGH__NODE_FILE ? "node" : "frame", index);
    uint64_t capacity = (file->limit + 63) / 64 * 64;
    uint8_t *bits = bough__realloc(file->bits, capacity / 8);
    if (bits == NULL)
        return bough__fail_memory();
    memset(bits + file->capacity / 8, 0, (capacity - file->capacity) / 8);
    file->bits = bits;
    file->capacity = capacity;
    return BOUGH_OK;
}

static int set_bit(struct bough__marks *marks, enum bough__file_kind kind, uint32_t number, uint64_t index)
{
    struct file_marks *file = NULL;
    int rc = need_file(&file, marks, kind, number);
    if (rc == BOUGH_OK && index >= file->capacity)
        rc = make_room(marks, file, index);
    if (rc != BOUGH_OK || has_bit(file, index))
        return rc;
    file->bits[index / 8] |= (uint8_t)(1u << index % 8);
    file->count++;
    marks->bytes += file->unit_bytes;
    return BOUGH_OK;
}

static int tell(struct bough__marks *marks)
{
    if (marks->callback == NULL || marks->bytes - marks->told_bytes < TELL_BYTES)
        return BOUGH_OK;
    marks->told_bytes = marks->bytes;
    return marks->callback(marks->context, marks->bytes);
}

/* ---- trees ---- */

/* level 0: any, at the top. */
static int mark_node(struct bough__marks *marks, struct bough__node_ref ref, unsigned level)
{
    struct bough__node node;
    int rc = BOUGH_OK;
    if (ref.file == 0 || bough__marks_has_node(marks, ref.file, ref.index) ||
        (marks->others != NULL && bough__marks_has_node(marks->others, ref.file, ref.index)))
        return BOUGH_OK;
    rc = bough__nodes_read_uncached(&node, marks->space->nodes, ref);
    if (rc == BOUGH_OK && level != 0 && node.level != level)
        rc = bough__fail(BOUGH_CORRUPT, "nodes/%u.nodes: node %u is of level %u where level %u was expected", ref.file,
                         ref.index, node.level, level);
    for (unsigned i = 0; rc == BOUGH_OK && i < BOUGH__FANOUT; i++) {
        if (node.level > 1)
            rc = mark_node(marks, node.children[i].ref, node.level - 1);
        else if (node.entries[i].layer != 0)
            rc = set_bit(marks, BOUGH__LAYER_FILE, node.entries[i].layer, node.entries[i].frame);
    }
    if (rc == BOUGH_OK)
        rc = set_bit(marks, BOUGH__NODE_FILE, ref.file, ref.index);
    return rc == BOUGH_OK ? tell(marks) : rc;
}

int bough__marks_tree(struct bough__marks *marks, struct bough__node_ref top)
{
    return mark_node(marks, top, 0);
}

/* ---- asking ---- */

bool bough__marks_has_node(const struct bough__marks *marks, uint32_t file, uint32_t index)
{
    const struct file_marks *found = find_file(marks, BOUGH__NODE_FILE, file);
    return found != NULL && has_bit(found, index);
}

bool bough__marks_has_frame(const struct bough__marks *marks, uint32_t layer, uint64_t frame)
{
    const struct file_marks *found = find_file(marks, BOUGH__LAYER_FILE, layer);
    return found != NULL && has_bit(found, frame);
}

uint64_t bough__marks_frames(const struct bough__marks *marks, uint32_t layer)
{
    const struct file_marks *found = find_file(marks, BOUGH__LAYER_FILE, layer);
    return found != NULL ? found->count : 0;
}

uint64_t bough__marks_bytes(const struct bough__marks *marks)
{
    return marks->bytes;
}

uint64_t bough__marks_frame_bytes(const struct bough__marks *marks, uint32_t layer)
{
    const struct file_marks *found = find_file(marks, BOUGH__LAYER_FILE, layer);
    return found != NULL ? found->count * found->unit_bytes : 0;
}

void bough__marks_go_beyond(struct bough__marks *marks, const struct bough__marks *others)
{
    marks->others = others;
}

void bough__marks_watch(struct bough__marks *marks, bough__marks_callback *callback, void *context)
{
    marks->callback = callback;
    marks->context = context;
}

/* ---- making ---- */

int bough__marks_create(struct bough__marks **out, struct bough__space *space)
{
    *out = NULL;
    struct bough__marks *marks = bough__alloc(sizeof *marks);
    if (marks == NULL)
        return bough__fail_memory();
    marks->space = space;
    int rc = grow_table(marks);
    if (rc == BOUGH_OK)
        *out = marks;
    else
        free(marks);
    return rc;
}

void bough__marks_free(struct bough__marks *marks)
{
    if (marks == NULL)
        return;
    for (size_t i = 0; i < marks->file_capacity; i++)
        free(marks->files[i].bits);
    free(marks->files);
    free(marks);
}
