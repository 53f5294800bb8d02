/* decision.h - decisions over transactions that write to several layers: the store's file `decisions`.
 *
 * The file is an array of slots of 512 bytes, made and grown when it is needed, full of zeros until then. A slot is
 *      0   4  'B' 'L' 'D' '1'
 *      4   4  1 committed, 2 withdrawn
 *      8   4  number of members
 *     12   4  0
 *     16   8  XXH3 of the slot with these 8 bytes as zeros, seeded with the store's key XOR the slot's number
 *     24  12  a member each, the first 39 of them: layer 4, transaction 8
 *    496  16  id, random
 * A slot is one sector and its id stands at the end, so neither a torn nor a short write leaves a decision.
 *
 * 1. A transaction of several members is committed from the moment on when its slot is durable. Records of prepared
 *    transactions (log.h) name slot and id; without a slot of that id the transaction never was.
 * 2. Only the transaction's own process decides, and only while it holds the writer's lock of every member. Whoever
 *    finds a prepared record under such a lock finds it decided, or never to be decided.
 * 3. After a sync that failed nobody knows whether the decision is on the disk. It is withdrawn: the slot says so, and
 *    no member goes on before that is durable. So does a decision that is found: who died may not have synced it.
 * 4. A slot is used again once each of its members is settled: its layer has a durable transaction after the prepared
 *    one, or a header that includes it in both places, or no file any more. Then nobody looks for the decision.
 */
#ifndef BOUGH_ENGINE_DECISION_H
#define BOUGH_ENGINE_DECISION_H

#include "log.h"
#include "space.h"

#define BOUGH__DECISIONS_FILE "decisions"
#define BOUGH__DECISION_SLOT_SIZE 512u
#define BOUGH__DECISION_MEMBERS 39u

struct bough__member {
    uint32_t layer;
    uint64_t txn;
};

enum bough__decision_state { BOUGH__UNDECIDED, BOUGH__COMMITTED, BOUGH__WITHDRAWN };

/* One decision on its way: a slot that nobody else takes meanwhile. */
struct bough__decider {
    struct bough__space *space;
    struct bough__decision decision;
    char *path;
    int fd;
};

/* Finds a slot and an id for it. */
int bough__decider_begin(struct bough__decider *out, struct bough__space *space);
/* Decides for the commit; durable on BOUGH_OK. On failure the transaction never was, unless *out_is_open: then it could
 * not be withdrawn durably, and members stay as they are until someone can. */
int bough__decider_commit(bool *out_is_open, struct bough__decider *decider, const struct bough__member *members,
                          size_t count);
void bough__decider_end(struct bough__decider *decider);

/* Was it decided? What is found is durable afterwards, unless is_private: then nothing is written. */
int bough__decision_look(bool *out_is_committed, const struct bough__space *space,
                         const struct bough__decision *decision, bool is_private);

/* A slot as it stands in the file, for tools. BOUGH__UNDECIDED: none, or a damaged one. */
struct bough__decision_slot {
    enum bough__decision_state state;
    uint8_t id[16];
    uint32_t member_count; /* all; listed are BOUGH__DECISION_MEMBERS at most */
    struct bough__member members[BOUGH__DECISION_MEMBERS];
};
void bough__decision_decode(struct bough__decision_slot *out, const uint8_t bytes[BOUGH__DECISION_SLOT_SIZE],
                            const struct bough__space *space, uint64_t slot);

#endif
