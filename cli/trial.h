/* trial.h - scripts of SQL, each on a branch of its own, several at a time. */
#ifndef BOUGH_CLI_TRIAL_H
#define BOUGH_CLI_TRIAL_H

#include "review.h"

/* Runs texts[i] on the branch of the review's side i, `jobs` of them at once, and compares each side with the base when
 * its script has ended; with `drops` that was all that the branch was for, and it is dropped at once, while others are
 * still at work: is_dropped says whether. A script that fails is noted in its side; the result is about everything
 * else. Interrupted, it stops the scripts. */
int trial_run(struct review *review, char *const *texts, size_t jobs, bool drops);

#endif
