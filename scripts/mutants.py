#!/usr/bin/env python3
"""Breaks bough on purpose, one place at a time, and sees that a test notices.

    python3 scripts/mutants.py [--jobs N] [--keep] [NAME...]

Works on a copy of the tree. Each mutant is a piece of source text and what to put in its place, and the case of a test
program that has to fail then. A text that is not there exactly once is an error, since a mutant that no longer applies
proves nothing; so is a case that fails without the mutant, and a mutant that survives. --keep leaves the copy in place,
so that the next run builds less.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMEOUT_S = 120

# name, what is broken, file, text, text instead, test program, its case
MUTANTS = [
    ("I1", "a fork does not get what its parent has not committed", "engine/commit.c",
     "    if (!seal->is_folded || now->head_txn >= seal->snapshot.txn)\n        return BOUGH_OK;\n    int rc",
     "    if (true)\n        return BOUGH_OK;\n    int rc",
     "test_branch", "fork_of_a_dirty_branch_commits_it"),
    ("I1-independent", "a fork writes to its parent's layer", "engine/fork.c",
     "        rc = bough__catalog_new_layer(&row.layer, store->catalog);",
     "        row.layer = fork->target.branch.layer;",
     "test_branch", "forks_are_independent"),
    ("I2", "the log grows without a checkpoint", "engine/txn.c",
     "    return overlay->log_bytes > BOUGH__LOG_LIMIT ||",
     "    return false && overlay->log_bytes > BOUGH__LOG_LIMIT ||",
     "test_layer", "log_is_bounded"),
    ("I11-log", "the log grows without end where checkpoints fail", "engine/txn.c",
     "log_bytes > BOUGH__LOG_MUST;", "log_bytes > BOUGH__LOG_MUST && false;",
     "test_hazards", "checkpoints_fail_for_long"),
    ("I3", "equal pages are stored again", "engine/fill.c",
     "    if (rc != BOUGH_OK || memcmp(old.digest, digest, sizeof old.digest) == 0)",
     "    if (rc != BOUGH_OK || (is_zero && old.layer == 0))",
     "test_transfer", "equal_pages_cost_nothing"),
    ("I4", "COMMIT returns before its record is on the disk", "engine/txn.c",
     "    int rc = bough__layer_sync(layer);\n    if (rc == BOUGH_OK)\n        return BOUGH_OK;\n    bough__error_save",
     "    int rc = BOUGH_OK;\n    if (rc == BOUGH_OK)\n        return BOUGH_OK;\n    bough__error_save",
     "vfs_facts", "a_commit_is_one_sync"),
    ("I4-poison", "a failed sync is forgotten", "engine/layer_locks.c",
     "        bough__shm_set(&layer->shm, BOUGH__SHM_POISONED);", "        (void)layer;",
     "vfs_descriptors", "a_failure_to_sync_is_remembered"),
    ("I4-decision", "a decision is overwritten while a header that needs it not may be lost", "engine/layer.c",
     "    return durable > txn || (noted && is_closed);", "    return durable > txn || noted;",
     "test_group", "a_header_of_the_dead_is_not_believed"),
    ("I6-unseen", "who has no part in shared memory never sees a newer state", "engine/layer.c",
     "    if (!layer->shm.is_private)\n        return false;\n    bool is_old", "    if (!catalog)\n        return false;\n    bool is_old",
     "vfs_faults", "room_comes_back"),
    ("I4-unseen", "who has no part in shared memory reads what is not committed", "engine/layer.c",
     "        told.generation == slot->generation && told.txn < *n && told.txn >= durable)",
     "        told.generation != slot->generation && told.txn < *n && told.txn >= durable)",
     "test_heirs", "a_transaction_on_its_way_read_unseen"),
    ("sight-grain", "files that changed a moment ago count as unchanged", "engine/sight.c",
     "    if (sight->is_unsure)\n        return true;", "    (void)sight->is_unsure;",
     "test_sight", "a_look_soon_after_a_change"),
    ("I5-published", "a checkpoint is published before its transaction counts as durable", "engine/checkpoint.c",
     "    bough__shm_raise_durable(&layer->shm, slot.txn);\n    bough__layer_install(layer, overlay, &slot, &state);\n"
     "    bough__appender_end(appender); /* not before: see nodes.h */\n",
     "    bough__layer_install(layer, overlay, &slot, &state);\n    bough__appender_end(appender);\n"
     "    bough__shm_raise_durable(&layer->shm, slot.txn);\n",
     "test_heirs", "killed_when_its_checkpoint_was_published"),
    ("opening-alone", "who opens a layer keeps those waiting who want another", "engine/layer.c",
     "    pthread_mutex_unlock(&space->mutex);\n    rc = attach(layer);\n    pthread_mutex_lock(&space->mutex);",
     "    rc = attach(layer);",
     "test_hazards", "nobody_waits_for_another_layer"),
    ("closing-alone", "who closes a layer keeps those waiting who want another", "engine/layer.c",
     "    int last_fd = detach(layer);\n    pthread_mutex_lock(&space->mutex);",
     "    pthread_mutex_lock(&space->mutex);\n    int last_fd = detach(layer);",
     "test_hazards", "nobody_waits_for_another_layer"),
    ("I5-left", "a layer that was opened by an old row is cut to what its log says", "engine/layer.c",
     "    if (last && (flags & (unfit | BOUGH__SHM_CONFIRMED)) == BOUGH__SHM_CONFIRMED)",
     "    if (last && !(flags & unfit))",
     "test_gc", "a_left_layer_opened_by_an_old_row"),
    ("I5-expired", "gc deletes a branch that was opened after it had looked", "engine/drop.c",
     "    if (rc == BOUGH_OK && !victims->force)\n        rc = check_left(victims, store);",
     "    if (rc == BOUGH_OK && !victims->force)\n        rc = BOUGH_OK;",
     "test_gc", "opened_after_the_look"),
    ("I5", "frames that a snapshot sees are used again", "engine/recycler.c",
     "    return low < look->pin_count && look->pins[low] < frame->death;", "    return false;",
     "test_layer", "model"),
    ("I5-others", "a frame that another process took is handed out once more", "engine/recycler.c",
     "    return taken != NULL && death <= taken->frame;", "    return taken != NULL && death < death;",
     "test_recycler", "hands_out_what_is_free_and_nothing_else"),
    ("I6", "the cache of another state is taken for right", "vfs/file.c",
     "        file->lock != SQLITE_LOCK_NONE)\n        return read_validity(file, out);",
     "        file->lock == SQLITE_LOCK_NONE)\n        return read_validity(file, out);",
     "vfs_moves", "equal_counters"),
    ("seen-blocks", "pages that others wrote stay in the cache", "vfs/seen.c",
     "        else if (is_seen(seen, blocks[i]))", "        else if (false && is_seen(seen, blocks[i]))",
     "vfs_seen", "every_kind_of_page"),
    ("seen-page-1", "the first page may differ", "vfs/seen.c",
     "        !bough__header_same_but_counter(seen->page_1, newer, seen->page_bytes))", "        false)",
     "vfs_seen", "the_first_page"),
    ("seen-writer", "what a writer has in its cache counts as not seen", "vfs/file.c",
     "    if (file->txn)\n        bough__seen_all(&file->seen);\n    file->cookie.txn_delta",
     "    file->cookie.txn_delta",
     "vfs_seen", "what_was_written_counts_as_seen"),
    ("seen-nothing", "what was seen is never forgotten", "vfs/file.c",
     "    bough__seen_nothing(&file->seen);", "    bough__seen_all(&file->seen);",
     "vfs_seen", "other_pages_leave_the_cache_alone"),
    ("seen-counter", "the change counter falls behind", "vfs/file.c",
     "        bough__header_add_to_counter(file->scratch, block_bytes, 0, file->cache.counter_delta);", "",
     "vfs_seen", "the_change_counter_goes_on"),
    ("seen-counter-shown", "the change counter that SQLite reads again is another", "vfs/file.c",
     "        bough__header_add_to_counter(bytes, len_bytes, offset, 0U - file->cache.counter_delta);",
     "        (void)offset;",
     "vfs_seen", "the_change_counter_goes_on"),
    ("seen-watched", "PRAGMA data_version does not count what the cache outlives", "vfs/control.c",
     "        file->is_watched = true;", "        file->is_watched = false;",
     "vfs_seen", "data_version_counts_all_commits"),
    ("seen-alone", "who only watches misses commits", "vfs/seen.c",
     "    if (seen->is_all || !seen->is_more || seen->page_bytes == 0)", "    if (seen->is_all || seen->page_bytes == 0)",
     "vfs_seen", "who_only_watches_sees_every_commit"),
    ("seen-generation", "what an older generation wrote is taken for nothing", "engine/overlay.c",
     "    if (after < overlay->base_txn || after > txn)", "    if (after > txn)",
     "vfs_seen", "a_new_generation"),
    ("seen-cuts", "what was cut off is taken for what it was", "engine/overlay.c",
     "    bool is_known = !has_cuts(overlay, after, txn);", "    bool is_known = true || has_cuts(overlay, after, txn);",
     "test_overlay", "cuts_and_generations"),
    ("I6-cookie", "statements of another schema stay prepared", "vfs/file.c",
     "    file->cookie.is_stale = true;", "    file->cookie.is_stale = false;",
     "vfs_moves", "equal_cookies"),
    ("waiting-hand-on", "who was woken too late tells nobody of those who sleep on", "engine/shm_locks.c",
     "    return atomic_exchange(&shm->was_woken, false) ? WAITED : 0;", "    return 0 * atomic_exchange(&shm->was_woken, false);",
     "test_waiting", "who_is_woken_too_late_hands_on"),
    ("waiting-wake", "whoever gives the writer's lock up wakes nobody", "engine/shm_locks.c",
     "    if (atomic_exchange(&shm->map->writer, 0) & WAITED)", "    if (atomic_exchange(&shm->map->writer, 0) & 0)",
     "test_waiting", "all_who_wait_are_woken_one_after_the_other"),
    ("waiting-debt", "a sleep that was cut short counts as slept", "vfs/wait.c",
     "    file->unslept_us = slept < us ? us - (uint32_t)slept : 0;", "    file->unslept_us = slept > 2 * us;",
     "vfs_wait", "what_was_not_slept_is_made_up_for"),
    ("waiting-held", "who keeps SHARED asks for RESERVED without a pause", "vfs/file.c",
     "    if (rc == SQLITE_OK && !file->txn)\n        bough__wait_now(file);",
     "    if (rc == SQLITE_OK && file->lock == SQLITE_LOCK_NONE)\n        bough__wait_now(file);",
     "vfs_wait", "with_a_snapshot_in_hand"),
    ("I5-neighbours", "neighbours are looked for where the last list had them", "engine/recycler.c",
     "    list->mark = list->mark > list->first ? list->mark - list->first : 0;\n", "",
     "test_recycler", "those_alone_are_known_when_others_are_used"),
    ("I7", "a dead writer's lock stays", "engine/shm_locks.c",
     "    bough__shm_clear_number(shm, (int)owner - 1);\n", "",
     "test_hazards", "taking_a_dead_writers_place"),
    ("I8", "frames are never used again", "engine/layer_frames.c",
     "    bough__recycler_refill(&layer->recycler, &layer->shm);", "    (void)layer;",
     "test_layer", "a_long_life_stays_small"),
    ("I8-unseen", "free frames that were not looked at do not count", "engine/recycler.c",
     "    size_t others = recycler->extent_frames + recycler", "    size_t others = recycler",
     "test_recycler", "what_was_not_looked_at_yet_is_free_too"),
    ("I8-lazy", "without syncs frames wait for one", "engine/recycler.c",
     "        if (dead->items[at].birth > look->durable_txn)", "        if (dead->items[at].death <= look->durable_txn)",
     "test_layer", "a_life_without_syncs_stays_small"),
    ("I4-lazy", "without syncs a loss of power takes a log's worth", "engine/txn.c",
     "    return layer->lazy_bytes > BOUGH__UNSYNCED_LIMIT ||", "    return",
     "test_layer", "a_life_without_syncs_stays_small"),
    ("I4-rare", "rare transactions are never synced", "engine/txn.c",
     " || now_ms - layer->lazy_ms > BOUGH__UNSYNCED_MS;", ";",
     "test_layer", "rare_transactions_are_synced_now_and_then"),
    ("I4-kept", "frames of what a loss of power brings back are used", "engine/recycler.c",
     "        if (dead->items[at].birth > look->durable_txn)", "        if (dead->items[at].death > look->durable_txn)",
     "test_recycler", "what_a_loss_of_power_may_bring_back_is_kept"),
    ("I4-pinned", "a state that was pinned and became durable loses its frames", "engine/recycler.c",
     "    if (frame->birth <= look->durable_txn && look->durable_txn < frame->death)", "    if (frame->death == 0)",
     "test_recycler", "a_state_becomes_durable_while_its_frames_are_kept_for_a_reader"),
    ("I4-twice", "after a crash the newest transaction does not count as durable", "engine/layer.c",
     "raise_durable(&layer->shm, is_settled ? n : durable);",
     "raise_durable(&layer->shm, is_settled ? durable : durable);",
     "test_heirs", "promised_before_the_loss_before_the_last"),
    ("I4-newest", "a commit calls durable what nobody has pinned", "engine/snapshot.c",
     "        bough__shm_raise_durable(&layer->shm, txn);",
     "        bough__shm_raise_durable(&layer->shm, bough__shm_newest(&layer->shm));",
     "test_hazards", "a_commit_beside_a_writer_without_syncs"),
    ("I9", "pages are not checked", "engine/fold.c",
     "    if (bough__page_sum(content, space->store_key, layer, frame, block) != sum)",
     "    if (content == 0 && bough__page_sum(content, space->store_key, layer, frame, block) != sum)",
     "test_verify", "a_page_written_since_the_last_commit"),
    ("I10", "a transaction whose sync failed is published", "engine/layer_locks.c",
     "    if (rc == BOUGH_OK && !layer->is_healing && bough__shm_flags(&layer->shm) & BOUGH__SHM_POISONED)",
     "    rc = BOUGH_OK;\n    if (rc != BOUGH_OK)",
     "vfs_facts", "a_failed_sync_leaves_the_old_state"),
    ("I11", "layers keep their descriptors", "engine/layer_fd.c",
     "enum { KEPT_MAX = 32 };", "enum { KEPT_MAX = 1000 };",
     "vfs_descriptors", "all_are_written_to"),
    ("I11-readers", "readers keep their descriptors", "engine/files.c",
     "DESCRIPTOR_COUNT = 64,", "DESCRIPTOR_COUNT = 128,",
     "test_files", "many_files_few_descriptors"),
    ("I12", "a short last page comes out whole", "engine/transfer.c",
     "    if (len > snapshot->size_bytes - offset)", "    if (len > snapshot->size_bytes - offset && len == 0)",
     "test_transfer", "what_goes_in_comes_out"),
    ("I12-wal", "a header that says WAL is stored as shown", "vfs/header.c",
     "        if ((wal & (1U << i)) && page[VERSIONS + i] == ROLLBACK)",
     "        if (wal > 3 && page[VERSIONS + i] == ROLLBACK)",
     "vfs_facts", "a_wal_header_is_hidden_and_kept"),
    ("descriptor-unsynced", "a descriptor goes before what it wrote is synced", "engine/layer_fd.c",
     "    return layer->fd < 0 ||", "    return true || layer->fd < 0 ||",
     "vfs_descriptors", "no_descriptor_goes_before_what_it_wrote_is_synced"),
    ("descriptor-closing", "a layer that others have open is closed without a sync", "engine/layer.c",
     "    bough__layer_settle_file(layer); /* before", "    /* before",
     "test_heirs", "a_writer_goes_and_its_sync_fails"),
    ("descriptor-in-use", "a layer's descriptor goes while another thread syncs through it", "engine/layer_fd.c",
     "    while (layer->file.users != 0 || !is_settled(layer)) {", "    while (false) {",
     "test_heirs", "a_layer_is_closed_while_a_thread_syncs_it"),
    ("descriptor-identity", "another file in a layer's place is written to", "engine/layer_fd.c",
     "    if (layer->file.inode != 0 &&", "    if (layer->file.inode == 1 &&",
     "vfs_descriptors", "another_file_in_its_place"),
    ("descriptor-shortage", "nobody gives way when there is no descriptor left", "engine/os.c",
     "    } while (fd < 0 && (errno == EINTR || has_spared()));",
     "    } while (fd < 0 && errno == EINTR && has_spared());",
     "vfs_descriptors", "an_idle_one_gives_way"),
    ("doubt-of-another", "a mover takes back the doubt of one who deletes", "engine/layer_locks.c",
     "    if (layer->has_doubted)\n", "    if (layer->has_doubted || true)\n",
     "test_drop", "killed_after_the_rows_of_many"),
    ("doubt-reopened", "who opens a branch that is being deleted has no doubt", "engine/shm.c",
     "(is_deleting(shm) ? BOUGH__SHM_DOUBT : 0)", "0",
     "test_drop", "killed_after_the_rows_of_many"),
    ("head-pruned", "a pruned head is damage to a commit", "engine/commit.c",
     "    if (rc != BOUGH_CORRUPT)\n        return rc;\n    bough__error_restore",
     "    if (rc != BOUGH_OK)\n        return rc;\n    bough__error_restore",
     "test_gc", "the_head_is_pruned_while_a_commit_counts_from_it"),
    ("left-open", "who is idle where the branch was before a reset does not have it open", "engine/left.c",
     "        if (rc == BOUGH_OK && left.pid_count != 0)", "        if (rc == BOUGH_OK && left.pid_count > 1000)",
     "test_drop", "open_where_it_was"),
    ("look-after-lock", "nobody looks at the row after taking the writer's lock", "vfs/file.c",
     "    if (rc == BOUGH_OK && (rc = bough__file_look(file)) != BOUGH_OK) {", "    if (rc != BOUGH_OK && file->txn) {",
     "vfs_moves", "moved_between_the_look_and_the_lock"),
    ("look-after-lock-deleted", "nobody looks whether the branch is gone after taking the writer's lock", "vfs/file.c",
     "    if (rc == BOUGH_OK && (rc = bough__file_look(file)) != BOUGH_OK) {", "    if (rc != BOUGH_OK && file->txn) {",
     "vfs_moves", "deleted_between_the_look_and_the_lock"),
    ("stale-protection", "who opens a branch that is being protected may write", "vfs/file.c",
     "file->is_readonly || is_protected;\n    }\n    bough__target", "file->is_readonly;\n    }\n    bough__target",
     "vfs_moves", "protected_between_the_look_and_the_opening"),
    ("stale-parent", "a fork of a hidden branch gets the parent that was seen first", "engine/fork.c",
     "    if (!fork->target.has_branch || !bough__name_is_hidden(fork->target.branch.name))", "    if (true)",
     "test_hidden", "the_parent_goes_while_one_is_forked"),
    ("verify-system", "what cannot be read is called damaged", "engine/map.c",
     "    if (rc == BOUGH_CORRUPT) {\n        struct bough__error_state what;",
     "    if (rc == BOUGH_CORRUPT || rc == BOUGH_IO) {\n        struct bough__error_state what;",
     "test_verify", "failures_of_the_system"),
    ("name-unsynced", "who finds a layer that its maker did not live to finish trusts its name", "engine/layer.c",
     "else if (rc == BOUGH_OK && n == 0 && !layer->shm.is_private)", "else if (rc == BOUGH_OK && n == UINT64_MAX)",
     "test_heirs", "killed_at_any_step"),
    ("useless-unseen", "a layer is removed from under one who reads without permission to write", "engine/layer.c",
     "== BOUGH_OK && !bough__os_is_locked(layer->fd, BOUGH__LAYER_READER_BYTE);", "== BOUGH_OK;",
     "test_heirs", "a_useless_layer_that_somebody_reads_unseen"),
    ("header-unsynced", "the last to close a layer forgets that its header may be unsynced", "engine/layer.c",
     " | BOUGH__SHM_DOUBT | BOUGH__SHM_HEADER;", " | BOUGH__SHM_DOUBT;",
     "test_heirs", "a_header_that_nobody_synced"),
    ("own-bytes", "what gc gives back is still counted", "engine/own.c",
     "        row.node_bytes -= own->row_excess;", "        row.node_bytes -= 0;",
     "test_gc", "what_is_given_back_is_nobodys_own"),
    ("gc-progress", "gc goes on when it is told to stop", "engine/gc.c",
     "    return bough__report_progress(&gc->options, gc->done_bytes, gc->total_bytes);",
     "    (void)bough__report_progress(&gc->options, gc->done_bytes, gc->total_bytes);\n    return BOUGH_OK;",
     "test_gc", "progress_and_interruption"),
    ("gc-pins", "gc does not look at pinned trees", "engine/gc.c",
     "        rc = mark_all_told(gc, bough__shm_pinned_trees);", "        rc = BOUGH_OK;",
     "test_gc", "readers_over_a_gc"),
]


def fail(text):
    print("mutants:", text, file=sys.stderr)
    sys.exit(2)


def copy_tree(target):
    """What git knows of, as it is now; files that did not change keep their times, so that little is built again."""
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"], check=True,
                           capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        source, copy = os.path.join(ROOT, name), os.path.join(target, name)
        if not os.path.isfile(source):
            continue
        with open(source, "rb") as file:
            data = file.read()
        if os.path.isfile(copy):
            with open(copy, "rb") as file:
                if file.read() == data:
                    continue
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        with open(copy, "wb") as file:
            file.write(data)
        shutil.copymode(source, copy)


class Copy:
    def __init__(self, folder, jobs):
        self.tree, self.build, self.jobs = os.path.join(folder, "tree"), os.path.join(folder, "build"), jobs
        copy_tree(self.tree)
        self.call(["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Dev"])

    def call(self, command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    def make(self, programs):
        self.call(["ninja", "-C", self.build, "-j", str(self.jobs), *programs])

    def passes(self, program, case):
        """A test that hangs does not pass."""
        environment = dict(os.environ, BOUGH_TEST_CASE=case)
        try:
            done = subprocess.run([os.path.join(self.build, "tests", program)], env=environment, timeout=TIMEOUT_S,
                                  capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return False
        if "Checks: 0" in done.stdout or "no such case" in done.stdout + done.stderr:
            fail(f"{program} has no case {case}")
        return done.returncode == 0

    def is_noticed(self, mutant):
        _, _, name, old, new, program, case = mutant
        path = os.path.join(self.tree, name)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace(old, new))
            self.make([program])
            return not self.passes(program, case)
        finally:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


def check_texts(mutants):
    """Before anything is built: every mutant still applies."""
    wrong = []
    for name, _, path, old, new, _, _ in mutants:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            count = file.read().count(old)
        if count != 1 or old == new:
            wrong.append(f"{name}: its text is in {path} {count} times")
    if wrong:
        fail("these do not apply any more:\n  " + "\n  ".join(wrong))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", action="store_true", help="keep the copy of the tree and what was built of it")
    parser.add_argument("--check", action="store_true", help="only see that every mutant applies")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {mutant[0] for mutant in MUTANTS}
    if unknown:
        fail("no mutant is called " + ", ".join(sorted(unknown)))
    mutants = [mutant for mutant in MUTANTS if not arguments.names or mutant[0] in arguments.names]
    check_texts(mutants)
    if arguments.check:
        return 0
    folder = os.path.join(tempfile.gettempdir(), f"bough-mutants-{os.getuid()}")
    copy = Copy(folder, arguments.jobs)
    tests = sorted({mutant[5:7] for mutant in mutants})
    copy.make(sorted({program for program, _ in tests}))
    for program, case in tests:
        if not copy.passes(program, case):
            fail(f"{program} {case} fails although nothing is broken")
    survivors = 0
    for mutant in mutants:
        noticed = copy.is_noticed(mutant)
        survivors += not noticed
        print(f"{'noticed ' if noticed else 'SURVIVED'} {mutant[0]}: {mutant[1]} ({mutant[5]} {mutant[6]})", flush=True)
    if not arguments.keep:
        shutil.rmtree(folder)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
