/* bough-dump.c - prints any file of a store as people read it. docs/format.md explains what it shows.
 *
 * It has no decoder of its own: everything is read by the functions that the engine reads it with, so what they refuse
 * is refused here, as a line that begins with "damaged:". The dump goes on after damage as far as it can, and ends with
 * exit status 6. Nothing is locked or changed, with one exception: the catalog is opened as the engine opens it.
 * The file of a branch that is being written may change between two lines.
 */
#include "catalog.h"
#include "decision.h"
#include "digest.h"
#include "error.h"
#include "exit.h"
#include "fold.h"
#include "layer_file.h"
#include "layer_state.h"
#include "log.h"
#include "os.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dump {
    struct bough__space *space;
    const char *path; /* as given */
    int fd;
    bool with_pages, with_hex, is_damaged;
    struct bough__layer_identity identity; /* of a layer file */
    uint8_t *page;
};

/* What the path says of a file. */
enum file_kind { NO_KIND, IDENTITY_FILE, CATALOG_FILE, LAYER, NODES, SHARED_MEMORY, DECISIONS };
struct place {
    enum file_kind kind;
    uint32_t number;
    char *store; /* the directory */
};

/* ---- printing -------------------------------------------------------------------------------------------------- */

static const char *hex_of(char out[2 * BOUGH__DIGEST_SIZE + 1], const uint8_t *bytes, size_t count)
{
    bough__hex(out, bytes, count);
    return out;
}

static void damaged(struct dump *dump, const char *what)
{
    printf("damaged: %s\n", what);
    dump->is_damaged = true;
}

/* Damage is a line of the dump; any other failure ends it. */
static int note(struct dump *dump, int rc)
{
    if (rc != BOUGH_CORRUPT)
        return rc;
    damaged(dump, bough_error_message());
    return BOUGH_OK;
}

static void hex_line(uint64_t offset, const uint8_t *bytes, size_t count)
{
    printf("  %08" PRIx64 " ", offset);
    for (size_t i = 0; i < 16; i++) {
        if (i < count)
            printf("%s%02x", i % 8 == 0 ? "  " : " ", bytes[i]);
        else
            printf("%s  ", i % 8 == 0 ? "  " : " ");
    }
    printf("  |");
    for (size_t i = 0; i < count; i++)
        putchar(bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '.');
    printf("|\n");
}

/* The bytes themselves, where asked for; lines that repeat are one star. */
static int print_hex(const struct dump *dump, uint64_t offset, uint64_t len_bytes)
{
    uint8_t line[16], before[16];
    bool is_repeated = false;
    for (uint64_t at = 0; dump->with_hex && at < len_bytes; at += sizeof line) {
        size_t count = 0, want = len_bytes - at < sizeof line ? (size_t)(len_bytes - at) : sizeof line;
        int rc = bough__os_read_some(&count, dump->fd, line, want, offset + at, dump->path);
        if (rc != BOUGH_OK)
            return rc;
        bool is_equal = at != 0 && count == sizeof line && memcmp(line, before, sizeof line) == 0;
        if (!is_equal && count != 0)
            hex_line(offset + at, line, count);
        else if (count != 0 && !is_repeated)
            printf("  *\n");
        is_repeated = is_equal;
        memcpy(before, line, sizeof line);
    }
    return BOUGH_OK;
}

static int open_file(struct dump *dump, uint64_t *out_size)
{
    int rc = bough__os_open(&dump->fd, dump->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    return rc == BOUGH_OK ? bough__os_size(out_size, dump->fd, dump->path) : rc;
}

/* ---- the identity file ----------------------------------------------------------------------------------------- */

static void print_uuid(const uint8_t uuid[16])
{
    char digits[33];
    bough__hex(digits, uuid, 16);
    printf("%.8s-%.4s-%.4s-%.4s-%s", digits, digits + 8, digits + 12, digits + 16, digits + 20);
}

static int dump_identity(struct dump *dump)
{
    uint64_t size = 0;
    int rc = open_file(dump, &size);
    if (rc != BOUGH_OK)
        return rc;
    printf("identity file of a store, %" PRIu64 " bytes\n  store         ", size);
    print_uuid(dump->space->uuid);
    printf("\n  key           %016" PRIx64 "\n  checksum      ok\n", dump->space->store_key);
    return print_hex(dump, 0, size);
}

/* ---- layer files ----------------------------------------------------------------------------------------------- */

static void print_tree(const struct bough__tree *tree)
{
    char digest[2 * BOUGH__DIGEST_SIZE + 1];
    printf("  tree          %" PRIu64 " bytes in blocks of %" PRIu32, tree->size_bytes, tree->block_size);
    if (tree->top.file == 0)
        printf(", nothing but zeros\n");
    else
        printf(", top node %" PRIu32 ":%" PRIu32 "\n  digest        %s\n", tree->top.file, tree->top.index,
               hex_of(digest, tree->digest, BOUGH__DIGEST_SIZE));
}

static int print_free(struct dump *dump, const struct bough__layer_slot *slot)
{
    struct bough__frames list;
    for (size_t i = 0; i < 2; i++)
        if (slot->list_areas[i].frame_count != 0)
            printf("  list area     %" PRIu64 " frames at byte %" PRIu64 "\n", slot->list_areas[i].frame_count,
                   slot->list_areas[i].offset);
    if (slot->free_count == 0) {
        printf("  free extents  none\n");
        return BOUGH_OK;
    }
    printf("  free extents  %" PRIu64 " at byte %" PRIu64 "\n", slot->free_count, slot->free_offset);
    if (!bough__block_size_is_valid(dump->identity.block_size))
        return BOUGH_OK;
    int rc = bough__frames_load(&list, dump->fd, dump->path, slot, dump->identity.block_size);
    if (rc == BOUGH_OK && list.count == 0)
        damaged(dump, "the list of free extents fails its checksum, and counts as empty");
    for (size_t i = 0; rc == BOUGH_OK && i < list.count; i++)
        printf("    frames %" PRIu64 " to %" PRIu64 "\n", list.extents[i].first,
               list.extents[i].first + list.extents[i].count - 1);
    bough__frames_release(&list);
    return rc;
}

static int print_slot(struct dump *dump, const struct bough__layer_slot *slot)
{
    printf("  sequence      %" PRIu64 "\n  generation    %" PRIu64 "\n", slot->sequence, slot->generation);
    printf("  transactions  %" PRIu64 " in the tree, %" PRIu64 " durable, %" PRIu64 " held by commits\n", slot->txn,
           slot->durable_txn, slot->hold_txn);
    printf("  log           from byte %" PRIu64 ", %" PRIu64 " bytes, seed %016" PRIx64 "\n", slot->log_offset,
           slot->log_size, slot->log_seed);
    printf("  frames        %" PRIu64 " handed out\n  nodes         %" PRIu64 " written\n", slot->frame_count,
           slot->node_count);
    print_tree(&slot->tree);
    return print_free(dump, slot);
}

static int dump_slot(struct dump *dump, uint32_t number, enum bough__slot_place place)
{
    enum bough__slot_state state = BOUGH__SLOT_EMPTY;
    struct bough__layer_slot slot = {0};
    const char *name = bough__layer_place_name(place);
    char what[64];
    int rc = bough__layer_file_read_place(&state, &slot, dump->fd, dump->space, number, place);
    if (rc != BOUGH_OK)
        return rc;
    printf("header slot %s\n", name);
    if (state == BOUGH__SLOT_DAMAGED) {
        snprintf(what, sizeof what, "header slot %s fails its checks", name);
        damaged(dump, what);
    } else if (state == BOUGH__SLOT_EMPTY) {
        printf("  empty\n");
    } else {
        rc = print_slot(dump, &slot);
    }
    if (rc != BOUGH_OK || state == BOUGH__SLOT_EMPTY)
        return rc;
    return print_hex(dump, bough__layer_place_offset(place), BOUGH__LAYER_HEADER_SIZE);
}

static int dump_layer_identity(struct dump *dump, uint32_t number)
{
    char id[2 * BOUGH__DIGEST_SIZE + 1];
    int fd = -1;
    printf("identity\n");
    int rc = bough__layer_file_open(&fd, &dump->identity, dump->space, number, true);
    bough__os_close(&fd);
    if (rc == BOUGH_OK) {
        printf("  layer         %" PRIu32 " of store ", dump->identity.number);
        print_uuid(dump->space->uuid);
        printf("\n  blocks        %" PRIu32 " bytes\n", dump->identity.block_size);
        if (bough__is_zero(dump->identity.begun_on, sizeof dump->identity.begun_on))
            printf("  begun         by an import\n");
        else
            printf("  begun on      commit %s\n  branch        %s, as it was called then\n",
                   hex_of(id, dump->identity.begun_on, BOUGH__DIGEST_SIZE), dump->identity.branch);
    } else {
        dump->identity.number = 0;
    }
    rc = note(dump, rc);
    return rc == BOUGH_OK ? print_hex(dump, 0, BOUGH__LAYER_HEADER_SIZE) : rc;
}

/* Reads the page and checks it; "ok" or "damaged" ends the line. */
static int check_page(struct dump *dump, uint32_t layer, uint64_t frame, uint64_t block, uint64_t sum)
{
    int rc = bough__frame_read(dump->space, layer, frame, block, sum, dump->page, dump->identity.block_size, false);
    printf("%s\n", rc == BOUGH_OK ? "ok" : "not ok");
    return note(dump, rc);
}

static int print_entries(struct dump *dump, const struct bough__log_record *record)
{
    int rc = BOUGH_OK;
    for (uint32_t i = 0; rc == BOUGH_OK && i < record->entry_count; i++) {
        const struct bough__log_entry *entry = &record->entries[i];
        printf("    block %" PRIu64 ": ", entry->block);
        if (entry->frame == BOUGH__NO_FRAME) {
            printf("zeros\n");
            continue;
        }
        printf("frame %" PRIu64 ", sum %016" PRIx64 ", ", entry->frame, entry->sum);
        rc = check_page(dump, dump->identity.number, entry->frame, entry->block, entry->sum);
    }
    return rc;
}

static uint64_t record_bytes(const struct bough__log_record *record)
{
    return bough__log_record_size((uint64_t)record->entry_count + record->is_prepared);
}

static int print_record(struct dump *dump, const struct bough__log_record *record, uint64_t offset, uint64_t sum)
{
    char id[2 * BOUGH__DIGEST_SIZE + 1];
    uint64_t len = record_bytes(record);
    printf("  %stransaction %" PRIu64 ": %" PRIu64 " bytes at %" PRIu64 ", %" PRIu32 " pages, database of %" PRIu64
           " bytes, %" PRIu64 " durable",
           record->is_prepared ? "prepared " : "", record->txn, len, offset, record->entry_count, record->size_bytes,
           record->durable_txn);
    if (record->is_prepared)
        printf(", decision %s in slot %" PRIu64, hex_of(id, record->decision.id, sizeof record->decision.id),
               record->decision.slot);
    if (record->keep_blocks != BOUGH__KEEP_ALL)
        printf(", cut to %" PRIu64 " blocks", record->keep_blocks);
    printf(", sum %016" PRIx64 "\n", sum);
    int rc = print_hex(dump, offset, len);
    return rc == BOUGH_OK && dump->with_pages ? print_entries(dump, record) : rc;
}

static int dump_log(struct dump *dump, const struct bough__layer_slot *slot)
{
    struct bough__log_position position = bough__layer_log_start(slot);
    struct bough__log_buffer buffer = {0};
    uint64_t newest = slot->txn, chunk_end = 0, chunk = position.chunk_offset;
    bool found = true;
    int rc = BOUGH_OK;
    bough__log_rewind(&buffer);
    printf("log of generation %" PRIu64 "\n", slot->generation);
    while (rc == BOUGH_OK && found) {
        struct bough__log_record record = {0};
        rc = bough__log_next(&found, &record, dump->fd, dump->path, &position, &buffer, newest + 1, &chunk_end);
        if (rc != BOUGH_OK || !found)
            break;
        if (chunk != position.chunk_offset)
            printf("  chunk at %" PRIu64 ", %" PRIu64 " bytes\n", position.chunk_offset,
                   position.chunk_end - position.chunk_offset);
        chunk = position.chunk_offset;
        newest = record.txn;
        rc = print_record(dump, &record, position.offset - record_bytes(&record), position.seed);
    }
    bough__log_buffer_release(&buffer);
    if (rc != BOUGH_OK)
        return rc;
    printf("  ends at %" PRIu64 " with transaction %" PRIu64 "\n", position.offset, newest);
    if (newest < slot->durable_txn)
        damaged(dump, "the log ends before the transaction that the header knows to be durable");
    return BOUGH_OK;
}

static int print_page(void *context, uint64_t block, const struct bough__entry *entry)
{
    struct dump *dump = context;
    char digest[2 * BOUGH__DIGEST_SIZE + 1];
    printf("  block %" PRIu64 ": layer %" PRIu32 ", frame %" PRIu64 ", birth %" PRIu64 ", sum %016" PRIx64
           ", digest %.12s, ",
           block, entry->layer, entry->frame, entry->birth, entry->sum,
           hex_of(digest, entry->digest, BOUGH__DIGEST_SIZE));
    return check_page(dump, entry->layer, entry->frame, block, entry->sum);
}

static int dump_layer(struct dump *dump, uint32_t number)
{
    uint64_t size = 0;
    bool found = false;
    struct bough__layer_slot slot = {0};
    int rc = open_file(dump, &size);
    if (rc != BOUGH_OK)
        return rc;
    printf("layer file, %" PRIu64 " bytes\n", size);
    rc = dump_layer_identity(dump, number);
    for (enum bough__slot_place place = 0; rc == BOUGH_OK && place < BOUGH__SLOT_PLACES; place++)
        rc = dump_slot(dump, number, place);
    if (rc == BOUGH_OK)
        rc = bough__layer_file_read_slot(&found, &slot, dump->fd, dump->space, number, 0);
    if (rc == BOUGH_OK && !found)
        damaged(dump, "no header slot is valid: the layer cannot be opened");
    if (rc != BOUGH_OK || !found)
        return rc;
    printf("slot %s counts\n", bough__layer_place_name(bough__layer_slot_place(&slot)));
    if (dump->identity.number == 0) /* damaged */
        dump->identity = (struct bough__layer_identity){.number = number, .block_size = slot.tree.block_size};
    if (!bough__block_size_is_valid(dump->identity.block_size))
        return BOUGH_OK; /* where frames lie is not known */
    dump->page = bough__alloc(dump->identity.block_size);
    rc = dump->page != NULL ? dump_log(dump, &slot) : BOUGH_NOMEM;
    if (rc == BOUGH_OK && dump->with_pages) {
        printf("pages of the tree\n");
        rc = note(dump, bough__map_walk(dump->space->nodes, &slot.tree, 0, print_page, dump));
    }
    return rc;
}

/* ---- node files ------------------------------------------------------------------------------------------------ */

static void print_children(const struct bough__node *node)
{
    char digest[2 * BOUGH__DIGEST_SIZE + 1];
    for (unsigned i = 0; i < BOUGH__FANOUT; i++) {
        const struct bough__entry *entry = &node->entries[i];
        if (node->level == 1 && entry->layer != 0)
            printf("    %2u: layer %" PRIu32 ", frame %" PRIu64 ", birth %" PRIu64 ", sum %016" PRIx64 ", digest %s\n",
                   i, entry->layer, entry->frame, entry->birth, entry->sum,
                   hex_of(digest, entry->digest, BOUGH__DIGEST_SIZE));
        else if (node->level > 1 && node->children[i].ref.file != 0)
            printf("    %2u: node %" PRIu32 ":%" PRIu32 ", digest %s\n", i, node->children[i].ref.file,
                   node->children[i].ref.index, hex_of(digest, node->children[i].digest, BOUGH__DIGEST_SIZE));
    }
}

static unsigned count_children(const struct bough__node *node)
{
    unsigned count = 0;
    for (unsigned i = 0; i < BOUGH__FANOUT; i++)
        count += node->level == 1 ? node->entries[i].layer != 0 : node->children[i].ref.file != 0;
    return count;
}

static int dump_node(struct dump *dump, struct bough__node_ref ref)
{
    struct bough__node node;
    uint8_t digest[BOUGH__DIGEST_SIZE];
    char text[2 * BOUGH__DIGEST_SIZE + 1];
    int rc = bough__nodes_read_uncached(&node, dump->space->nodes, ref);
    if (rc == BOUGH_OK)
        rc = bough__node_digest(digest, &node);
    if (rc == BOUGH_OK) {
        printf("node %" PRIu32 ": level %u, %u %s, checksum ok, digest %s\n", ref.index, node.level,
               count_children(&node), node.level == 1 ? "pages" : "children", hex_of(text, digest, BOUGH__DIGEST_SIZE));
        if (dump->with_pages)
            print_children(&node);
    } else {
        rc = note(dump, rc);
    }
    return rc == BOUGH_OK ? print_hex(dump, (uint64_t)ref.index * BOUGH__NODE_SIZE, BOUGH__NODE_SIZE) : rc;
}

static int dump_nodes(struct dump *dump, uint32_t number)
{
    uint64_t size = 0;
    int rc = open_file(dump, &size);
    if (rc != BOUGH_OK)
        return rc;
    printf("node file %" PRIu32 ", %" PRIu64 " bytes\nheader\n", number, size);
    rc = bough__nodes_check_header(dump->space->nodes, number);
    if (rc == BOUGH_OK)
        printf("  checksum      ok\n");
    rc = note(dump, rc);
    if (rc == BOUGH_OK)
        rc = print_hex(dump, 0, BOUGH__NODE_SIZE);
    uint64_t count = size / BOUGH__NODE_SIZE;
    for (uint64_t i = 1; rc == BOUGH_OK && i < count && i <= UINT32_MAX; i++)
        rc = dump_node(dump, (struct bough__node_ref){number, (uint32_t)i});
    if (rc == BOUGH_OK && size % BOUGH__NODE_SIZE != 0)
        printf("%" PRIu64 " bytes of a node that was never finished\n", size % BOUGH__NODE_SIZE);
    return rc;
}

/* ---- shared memory --------------------------------------------------------------------------------------------- */

static int dump_shared_memory(struct dump *dump, uint32_t number)
{
    struct bough__shm shm;
    struct bough__published state = {0};
    int32_t pids[BOUGH__SHM_OPENERS];
    int rc = bough__shm_look(&shm, dump->space->directory, number);
    if (rc != BOUGH_OK)
        return note(dump, rc);
    bough__shm_read(&state, &shm);
    uint32_t flags = bough__shm_flags(&shm);
    printf("shared memory of layer %" PRIu32 "\n", number);
    printf("  published     transaction %" PRIu64 " of generation %" PRIu64 "%s\n", state.txn, state.generation,
           state.generation == 0 ? " (the layer has no file yet)" : "");
    printf("  database      %" PRIu64 " bytes in blocks of %" PRIu64 "\n  frames        %" PRIu64 " handed out\n",
           state.size_bytes, state.block_size, state.frame_count);
    printf("  transactions  %" PRIu64 " durable, %" PRIu64 " held by commits\n", bough__shm_durable(&shm),
           bough__shm_hold(&shm));
    printf("  flags        %s%s%s%s%s\n", flags & BOUGH__SHM_GONE ? " gone" : "",
           flags & BOUGH__SHM_POISONED ? " poisoned" : "", flags & BOUGH__SHM_HEADER ? " header" : "",
           flags & BOUGH__SHM_PREPARED ? " prepared" : "",
           flags == 0 ? " none" : "");
    printf("  writer        %s\n  open by      ", bough__shm_writer_is_in(&shm) ? "in" : "none");
    size_t count = bough__shm_pids(&shm, pids);
    for (size_t i = 0; i < count; i++)
        printf(" %" PRId32, pids[i]);
    printf("%s\n", count == 0 ? " nobody: the file was left behind" : "");
    bough__shm_close(&shm, false);
    return BOUGH_OK;
}

/* ---- decisions ------------------------------------------------------------------------------------------------- */

static int print_decision(struct dump *dump, uint64_t slot)
{
    uint8_t bytes[BOUGH__DECISION_SLOT_SIZE];
    char id[2 * BOUGH__DIGEST_SIZE + 1];
    struct bough__decision_slot found;
    int rc = bough__os_read(dump->fd, bytes, sizeof bytes, slot * sizeof bytes, dump->path);
    if (rc != BOUGH_OK || bough__is_zero(bytes, sizeof bytes))
        return rc;
    bough__decision_decode(&found, bytes, dump->space, slot);
    if (found.state == BOUGH__UNDECIDED) {
        printf("  slot %" PRIu64 ": never finished\n", slot);
    } else {
        printf("  slot %" PRIu64 ": %s %s, %" PRIu32 " members:", slot, hex_of(id, found.id, sizeof found.id),
               found.state == BOUGH__COMMITTED ? "committed" : "withdrawn", found.member_count);
        for (uint32_t i = 0; i < found.member_count && i < BOUGH__DECISION_MEMBERS; i++)
            printf("%s layer %" PRIu32 " transaction %" PRIu64, i > 0 ? "," : "", found.members[i].layer,
                   found.members[i].txn);
        printf("\n");
    }
    return print_hex(dump, slot * sizeof bytes, sizeof bytes);
}

static int dump_decisions(struct dump *dump)
{
    uint64_t size = 0;
    int rc = open_file(dump, &size);
    if (rc == BOUGH_OK)
        printf("decisions, %" PRIu64 " slots\n", size / BOUGH__DECISION_SLOT_SIZE);
    for (uint64_t slot = 0; rc == BOUGH_OK && slot < size / BOUGH__DECISION_SLOT_SIZE; slot++)
        rc = print_decision(dump, slot);
    return rc;
}

/* ---- the catalog ----------------------------------------------------------------------------------------------- */

static int print_branch(void *context, const struct bough__branch_row *row)
{
    char head[2 * BOUGH__DIGEST_SIZE + 1];
    (void)context;
    printf("  branch %" PRId64 " %s: layer %" PRIu32 ", head %.12s", row->id, row->name, row->layer,
           hex_of(head, row->head, BOUGH__DIGEST_SIZE));
    if (row->head_txn != 0)
        printf(" sealing transaction %" PRIu64, row->head_txn);
    if (row->parent_id != 0)
        printf(", parent %" PRId64, row->parent_id);
    printf("%s\n", row->is_protected ? ", protected" : "");
    return BOUGH_OK;
}

static int print_commit(void *context, const struct bough__commit_row *row)
{
    char id[2 * BOUGH__DIGEST_SIZE + 1], root[2 * BOUGH__DIGEST_SIZE + 1];
    (void)context;
    printf("  commit %.12s: root %.12s, %" PRIu64 " bytes, top node %" PRIu32 ":%" PRIu32 "%s%s\n",
           hex_of(id, row->id, BOUGH__DIGEST_SIZE), hex_of(root, row->root, BOUGH__DIGEST_SIZE), row->tree.size_bytes,
           row->tree.top.file, row->tree.top.index, row->automatic ? ", automatic" : "", row->pruned ? ", pruned" : "");
    return BOUGH_OK;
}

static int print_move(void *context, const struct bough__move_row *row)
{
    char before[2 * BOUGH__DIGEST_SIZE + 1] = "what was discarded", after[2 * BOUGH__DIGEST_SIZE + 1];
    (void)context;
    if (row->has_before)
        bough__hex(before, row->before, BOUGH__DIGEST_SIZE);
    printf("  move of branch %" PRId64 ": %s from %.*s to %.12s%s%s\n", row->branch_id, row->verb,
           row->has_before ? 12 : 18, before, hex_of(after, row->after, BOUGH__DIGEST_SIZE), row->note ? ": " : "",
           row->note ? row->note : "");
    return BOUGH_OK;
}

static int print_tag(void *context, const struct bough__tag_row *row)
{
    char commit[2 * BOUGH__DIGEST_SIZE + 1];
    (void)context;
    printf("  tag %s: commit %.12s\n", row->name, hex_of(commit, row->commit, BOUGH__DIGEST_SIZE));
    return BOUGH_OK;
}

static int print_setting(struct bough__catalog *catalog, const char *key)
{
    char *value = NULL;
    int rc = bough__catalog_setting_get(&value, catalog, key);
    if (rc == BOUGH_OK && value)
        printf("  setting %s: %s\n", key, value);
    free(value);
    return rc;
}

static int print_finding(void *context, const char *where, const char *what)
{
    struct dump *dump = context;
    printf("damaged: %s: %s\n", where, what);
    dump->is_damaged = true;
    return BOUGH_OK;
}

static int dump_catalog(struct dump *dump)
{
    static const char *const keys[] = {"current", "origin", "layer"};
    struct bough__catalog *catalog = NULL;
    int rc = bough__catalog_open(&catalog, dump->space->directory, 5000);
    if (rc != BOUGH_OK)
        return note(dump, rc);
    printf("catalog, a SQLite database; for all of it: sqlite3 %s/catalog.db .schema\n", dump->space->directory);
    rc = note(dump, bough__catalog_branches(catalog, print_branch, NULL));
    if (rc == BOUGH_OK)
        rc = note(dump, bough__catalog_commits(catalog, print_commit, NULL));
    if (rc == BOUGH_OK)
        rc = note(dump, bough__catalog_moves_since(catalog, INT64_MIN, print_move, NULL));
    if (rc == BOUGH_OK)
        rc = note(dump, bough__catalog_tags(catalog, print_tag, NULL));
    for (size_t i = 0; rc == BOUGH_OK && i < sizeof keys / sizeof keys[0]; i++)
        rc = note(dump, print_setting(catalog, keys[i]));
    if (rc == BOUGH_OK)
        rc = bough__catalog_check(catalog, print_finding, dump);
    bough__catalog_close(catalog);
    return rc;
}

/* ---- which file it is ------------------------------------------------------------------------------------------ */

/* "12.layer" with the suffix ".layer": 12. */
static bool read_number(uint32_t *out, const char *name, const char *suffix)
{
    char again[64];
    unsigned long number = strtoul(name, NULL, 10);
    if (number == 0 || number > UINT32_MAX)
        return false;
    snprintf(again, sizeof again, "%lu%s", number, suffix);
    *out = (uint32_t)number;
    return strcmp(name, again) == 0;
}

static bool is_catalog(const char *name)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* directory: absolute; it is cut where the file stands one level down. */
static enum file_kind kind_of(uint32_t *out_number, char *directory, const char *name)
{
    static const struct {
        const char *directory, *suffix;
        enum file_kind kind;
    } kinds[] = {{"layers", ".layer", LAYER}, {"nodes", ".nodes", NODES}, {"run", ".shm", SHARED_MEMORY}};
    char *last = strrchr(directory, '/');
    if (strcmp(name, BOUGH__STORE_FILE) == 0)
        return IDENTITY_FILE;
    if (is_catalog(name))
        return CATALOG_FILE;
    if (strcmp(name, BOUGH__DECISIONS_FILE) == 0)
        return DECISIONS;
    for (size_t i = 0; last && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(last + 1, kinds[i].directory) == 0 && read_number(out_number, name, kinds[i].suffix)) {
            last[last == directory] = 0;
            return kinds[i].kind;
        }
    }
    return NO_KIND;
}

static int find_place(struct place *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *folder = bough__format("%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (!folder)
        return BOUGH_NOMEM;
    out->store = realpath(folder, NULL);
    int rc = out->store ? BOUGH_OK : bough__fail_errno("find", folder);
    free(folder);
    if (rc == BOUGH_OK)
        out->kind = kind_of(&out->number, out->store, name);
    if (rc == BOUGH_OK && out->kind == NO_KIND)
        rc = bough__fail(BOUGH_USAGE,
                         "%s is no file of a store: db, catalog.db, decisions, layers/N.layer, nodes/N.nodes, "
                         "run/N.shm",
                         path);
    return rc;
}

static int dump_place(struct dump *dump, const struct place *place)
{
    switch (place->kind) {
    case IDENTITY_FILE:
        return dump_identity(dump);
    case CATALOG_FILE:
        return dump_catalog(dump);
    case LAYER:
        return dump_layer(dump, place->number);
    case NODES:
        return dump_nodes(dump, place->number);
    case DECISIONS:
        return dump_decisions(dump);
    default:
        return dump_shared_memory(dump, place->number);
    }
}

static int dump_file(struct dump *dump)
{
    struct place place = {0};
    int rc = find_place(&place, dump->path);
    /* The store's UUID is in every checksum, so its identity comes first. */
    if (rc == BOUGH_OK) {
        rc = bough__space_open(&dump->space, place.store);
        rc = rc == BOUGH_OK ? dump_place(dump, &place) : note(dump, rc);
    }
    bough__os_close(&dump->fd);
    bough__space_close(dump->space);
    free(dump->page);
    free(place.store);
    return rc;
}

/* ---- the program ----------------------------------------------------------------------------------------------- */

static const char usage[] = "usage: bough-dump [--pages] [--hex] FILE...\n\n"
                            "Prints files of a store: db, catalog.db, decisions, layers/N.layer, nodes/N.nodes,\n"
                            "run/N.shm.\n\n"
                            "  -p, --pages  also every page: of log records, trees and nodes\n"
                            "  -x, --hex    also the bytes of what is printed\n"
                            "  -h, --help   this text\n\n"
                            "Exit status: 0, 2 wrong usage, 3 not found, 6 damaged, 7 input/output error.\n";

static enum cli_exit exit_of(int rc)
{
    switch (rc) {
    case BOUGH_OK:
        return EXIT_DONE;
    case BOUGH_USAGE:
        return EXIT_USAGE;
    case BOUGH_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case BOUGH_BUSY:
        return EXIT_BUSY;
    case BOUGH_CORRUPT:
        return EXIT_CORRUPT;
    default:
        return EXIT_IO;
    }
}

static bool is_option(const char *text, const char *letter, const char *word)
{
    return strcmp(text, letter) == 0 || strcmp(text, word) == 0;
}

/* Takes the options off the front; the number of the first file, or 0 when the program is to end with *out. */
static int read_options(enum cli_exit *out, struct dump *dump, int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (is_option(argv[i], "-p", "--pages")) {
            dump->with_pages = true;
        } else if (is_option(argv[i], "-x", "--hex")) {
            dump->with_hex = true;
        } else {
            *out = is_option(argv[i], "-h", "--help") ? EXIT_DONE : EXIT_USAGE;
            fputs(usage, *out == EXIT_DONE ? stdout : stderr);
            return 0;
        }
    }
    if (i < argc)
        return i;
    *out = EXIT_USAGE;
    fputs(usage, stderr);
    return 0;
}

int main(int argc, char **argv)
{
    struct dump options = {.fd = -1};
    enum cli_exit status = EXIT_DONE;
    int first = read_options(&status, &options, argc, argv);
    for (int i = first; first != 0 && i < argc; i++) {
        struct dump dump = options;
        dump.path = argv[i];
        if (argc - first > 1)
            printf("%s%s:\n", i > first ? "\n" : "", argv[i]);
        int rc = dump_file(&dump);
        if (rc != BOUGH_OK)
            fprintf(stderr, "bough-dump: %s\n", bough_error_message());
        enum cli_exit own = rc == BOUGH_OK && dump.is_damaged ? EXIT_CORRUPT : exit_of(rc);
        status = own > status ? own : status;
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_DONE)
        status = EXIT_IO;
    return (int)status;
}
