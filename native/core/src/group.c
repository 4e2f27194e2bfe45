/* Groups: the bulkhead of one plugin, bounded concurrency with a bounded queue.
 *
 * Owns: places, waiting calls and their order. Must not know targets or engines.
 *
 * Places taken and calls waiting are counted in one word together with the group's generation, so
 * that no call can slip between "there is no place" and "a place came free".
 *
 * Limits change while calls come in. They are published as one value, so that a call is judged by
 * one setting and not by a mixture of two; under the group's lock the last setting counts. */
#include <string.h>

#include "internal.h"

typedef struct group {
    /* generation:16 | queued:24 | running:24; generation 0: not in use */
    _Alignas(64) _Atomic uint64_t word;
    atoll__publication_t limits_now;
    _Atomic uint32_t pumping;
    _Atomic uint32_t removed; /* takes no call any more, free when the last one has left */
    uint32_t generation; /* table_lock */
    pthread_mutex_t lock;
    atoll__limits_t limits; /* lock */
    atoll__call_t *first; /* lock */
    atoll__call_t *last;  /* lock */
    atoll__rate_t rate;
} group_t;

#define LIMITS_WORDS (sizeof(atoll__limits_t) / sizeof(uint64_t))
/* Limits are read by threads that are inside a client, so no more at once than there are clients. */
#define LIMITS_BUFFERS (ATOLL__CLIENTS_MAX + 2u)

#define ONE_RUNNING 1u
#define ONE_QUEUED (1u << 24)
#define COUNT_MASK 0xFFFFFFu

static group_t *groups;
/* Buffer i of all groups, then buffer i + 1: the second page of a group's is hardly ever touched. */
static _Atomic uint64_t *limits_words;
static uint32_t groups_used; /* table_lock */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint32_t queued_now;

static uint32_t running_of(uint64_t word) {
    return (uint32_t)word & COUNT_MASK;
}

static uint32_t queued_of(uint64_t word) {
    return (uint32_t)(word >> 24) & COUNT_MASK;
}

static bool is_life(uint64_t word, uint32_t number) {
    return word >> 48 == number >> 16 && number >> 16 != 0;
}

/* A call that does not see it yet may still run: the group then goes with that call. */
static bool is_removed(const group_t *group) {
    return atomic_load_explicit(&group->removed, memory_order_relaxed) != 0;
}

static group_t *group_at(uint32_t number) {
    uint32_t index = number & 0xFFFFu;
    return index < ATOLL__GROUPS_MAX ? &groups[index] : NULL;
}

atoll_status_t atoll__groups_open(void) {
    if (groups != NULL) return ATOLL_OK;
    size_t words = ATOLL__GROUPS_MAX * (size_t)ATOLL__PUBLICATION_WORDS(LIMITS_WORDS);
    limits_words = atoll__prim_reserve(LIMITS_BUFFERS * words * sizeof *limits_words);
    if (limits_words == NULL)
        return atoll__fail(ATOLL_NO_MEMORY, "Cannot open: no address space");
    groups = atoll__prim_reserve(ATOLL__GROUPS_MAX * sizeof *groups);
    if (groups == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot open: no address space");
    return ATOLL_OK;
}

static atoll__publication_buffers_t buffers_of(const group_t *group) {
    size_t words = ATOLL__PUBLICATION_WORDS(LIMITS_WORDS);
    return (atoll__publication_buffers_t){
        .words = limits_words + (size_t)(group - groups) * words,
        .stride = ATOLL__GROUPS_MAX * words,
        .count = LIMITS_BUFFERS,
        .size = LIMITS_WORDS,
    };
}

/* Needs the group's lock. */
static void set_limits(group_t *group, const atoll_group_limits_t *limits) {
    uint32_t budget_us = limits->budget_default_us;
    group->limits = (atoll__limits_t){
        .concurrency_max = limits->concurrency_max,
        .queue_max = limits->queue_max,
        .budget_us = budget_us == 0 ? UINT32_MAX : budget_us,
        .rate_max = limits->rate_max,
        .rate_group = limits->rate_group,
    };
    uint64_t value[LIMITS_WORDS];
    memcpy(value, &group->limits, sizeof value);
    atoll__publication_buffers_t buffers = buffers_of(group);
    atoll__publication_write(&group->limits_now, &buffers, value);
}

bool atoll__group_limits(uint32_t number, atoll__limits_t *limits) {
    *limits = (atoll__limits_t){0};
    group_t *group = group_at(number);
    if (group == NULL) return false;
    uint64_t value[LIMITS_WORDS];
    atoll__publication_buffers_t buffers = buffers_of(group);
    atoll__publication_read(&group->limits_now, &buffers, value);
    memcpy(limits, value, sizeof value);
    return is_life(atomic_load_explicit(&group->word, memory_order_relaxed), number);
}

static bool limits_valid(const atoll_group_limits_t *limits) {
    return limits->concurrency_max >= 1 && limits->concurrency_max <= COUNT_MASK &&
           limits->queue_max <= COUNT_MASK && group_at(limits->rate_group) != NULL;
}

atoll_status_t atoll__group_add(const atoll_group_limits_t *limits, uint32_t *number) {
    if (!limits_valid(limits)) return ATOLL_INVALID_ARGUMENT;
    atoll_status_t status = ATOLL_NO_MEMORY;
    (void)pthread_mutex_lock(&table_lock);
    for (uint32_t i = 0; i < ATOLL__GROUPS_MAX && status != ATOLL_OK; i++) {
        group_t *group = &groups[i];
        /* SYNC POINT: group-free; who freed it has looked at it last. */
        if (atomic_load_explicit(&group->word, memory_order_acquire) >> 48 != 0) continue;
        if (i >= groups_used) {
            (void)pthread_mutex_init(&group->lock, NULL);
            groups_used = i + 1;
        }
        group->generation = group->generation % 0xFFFFu + 1u;
        (void)pthread_mutex_lock(&group->lock);
        set_limits(group, limits);
        (void)pthread_mutex_unlock(&group->lock);
        atomic_store(&group->removed, 0);
        atomic_store_explicit(&group->rate.full_ns, 0, memory_order_relaxed);
        /* SYNC POINT: group-publish; paired with group-enter. */
        atomic_store_explicit(
            &group->word, (uint64_t)group->generation << 48, memory_order_release);
        *number = group->generation << 16 | i;
        status = ATOLL_OK;
    }
    (void)pthread_mutex_unlock(&table_lock);
    return status;
}

/* A call that comes later sees another generation. */
static void free_if_idle(group_t *group, uint32_t number) {
    uint64_t idle = (uint64_t)(number >> 16) << 48;
    /* SYNC POINT: group-free. Behind the mark or the place that came free, whichever was second:
     * paired with itself, group-removed, group-idle. */
    (void)atomic_compare_exchange_strong_explicit(
        &group->word, &idle, 0, memory_order_seq_cst, memory_order_relaxed);
}

atoll_status_t atoll__group_remove(uint32_t number) {
    group_t *group = group_at(number);
    if (group == NULL) return ATOLL_NOT_FOUND;
    /* Under the lock of atoll__group_add: the mark is for this life and not for the next. */
    (void)pthread_mutex_lock(&table_lock);
    bool alive = is_life(atomic_load(&group->word), number);
    /* SYNC POINT: group-removed. Stored before the look at the counts; paired with group-idle,
     * group-free. */
    if (alive)
        alive = atomic_exchange_explicit(&group->removed, 1, memory_order_seq_cst) == 0;
    (void)pthread_mutex_unlock(&table_lock);
    if (!alive) return ATOLL_NOT_FOUND;
    free_if_idle(group, number);
    return ATOLL_OK;
}

/* Needs the group's lock. */
static void link_last(group_t *group, atoll__call_t *call) {
    call->queue_next = NULL;
    call->queue_before = group->last;
    if (group->last != NULL)
        group->last->queue_next = call;
    else
        group->first = call;
    group->last = call;
}

/* Needs the group's lock. */
static void unlink_call(group_t *group, atoll__call_t *call) {
    if (call->queue_before != NULL)
        call->queue_before->queue_next = call->queue_next;
    else
        group->first = call->queue_next;
    if (call->queue_next != NULL)
        call->queue_next->queue_before = call->queue_before;
    else
        group->last = call->queue_before;
    atomic_fetch_sub_explicit(&group->word, ONE_QUEUED, memory_order_relaxed);
    atomic_fetch_sub_explicit(&queued_now, 1, memory_order_relaxed);
}

/* Takes a place if there is one. PENDING: none. */
static atoll_status_t take_place(group_t *group, uint32_t number, uint32_t most) {
    /* SYNC POINT: group-enter, the first look. */
    uint64_t word = atomic_load_explicit(&group->word, memory_order_acquire);
    for (;;) {
        if (!is_life(word, number) || is_removed(group)) return ATOLL_NOT_FOUND;
        if (queued_of(word) > 0 || running_of(word) >= most) return ATOLL_PENDING;
        /* SYNC POINT: group-enter; paired with group-publish, group-leave. */
        if (atomic_compare_exchange_weak_explicit(
                &group->word, &word, word + ONE_RUNNING, memory_order_acq_rel,
                memory_order_acquire))
            return ATOLL_OK;
    }
}

/* Takes a place in the queue if there is one and there still is no place to run. Needs the lock. */
static atoll_status_t take_queue_place(group_t *group, uint32_t number) {
    /* SYNC POINT: group-enter, under the lock. */
    uint64_t word = atomic_load_explicit(&group->word, memory_order_acquire);
    for (;;) {
        if (!is_life(word, number) || is_removed(group)) return ATOLL_NOT_FOUND;
        uint64_t next = word;
        atoll_status_t status = ATOLL_OVERLOADED;
        if (queued_of(word) == 0 && running_of(word) < group->limits.concurrency_max) {
            status = ATOLL_OK;
            next = word + ONE_RUNNING;
        } else if (queued_of(word) < group->limits.queue_max) {
            status = ATOLL_PENDING;
            next = word + ONE_QUEUED;
        }
        if (next == word) return status;
        /* SYNC POINT: group-wait. A place in the queue is taken before the one who leaves looks, or
         * the place to run that came free is seen here; paired with group-leave. */
        if (atomic_compare_exchange_weak_explicit(
                &group->word, &word, next, memory_order_seq_cst, memory_order_acquire))
            return status;
    }
}

/* Counts a call towards the group's rate. One that is refused for the rate does not count; one that
 * then finds neither a place nor a queue does. */
static atoll_status_t take_token(
    group_t *group, uint32_t number, const atoll__limits_t *limits, uint64_t now_ns) {
    /* SYNC POINT: group-enter. Limits of a group that is no more say nothing. */
    uint64_t word = atomic_load_explicit(&group->word, memory_order_acquire);
    if (!is_life(word, number) || is_removed(group)) return ATOLL_NOT_FOUND;
    group_t *counts = limits->rate_group == 0 ? group : group_at(limits->rate_group);
    return atoll__rate_take(&counts->rate, limits->rate_max, now_ns) ? ATOLL_OK
                                                                     : ATOLL_RATE_LIMITED;
}

atoll_status_t atoll__group_enter(
    uint32_t number, const atoll__limits_t *limits, atoll__call_t *call) {
    group_t *group = group_at(number);
    if (group == NULL) return ATOLL_NOT_FOUND;
    atoll_status_t status = ATOLL_OK;
    if (limits->rate_max != 0) status = take_token(group, number, limits, call->started_ns);
    if (status != ATOLL_OK) return status;
    status = take_place(group, number, limits->concurrency_max);
    if (status != ATOLL_PENDING) return status;
    ATOLL__WINDOW();
    /* The call must be complete before the lock is left: from then on others may run or end it. */
    (void)pthread_mutex_lock(&group->lock);
    status = take_queue_place(group, number);
    if (status == ATOLL_PENDING) {
        atoll__call_count(call);
        (void)atoll__call_move(call, call->ticket, 1u << ATOLL__INLINE, ATOLL__QUEUED);
        link_last(group, call);
        atoll__count_add(ATOLL__COUNT_QUEUED, 1);
        /* SYNC POINT: queue-counted. Before the warden is asked to look (tick-wanted); paired with
         * tick-look. */
        atomic_fetch_add_explicit(&queued_now, 1, memory_order_seq_cst);
    }
    (void)pthread_mutex_unlock(&group->lock);
    if (status == ATOLL_PENDING) atoll__warden_tick();
    return status;
}

/* The first waiting call if there is a place for it, which it then has; NULL: none. */
static atoll__call_t *take_waiting(group_t *group) {
    (void)pthread_mutex_lock(&group->lock);
    atoll__call_t *call = group->first;
    uint64_t word = atomic_load(&group->word);
    if (call != NULL && running_of(word) >= group->limits.concurrency_max) call = NULL;
    if (call != NULL) {
        /* The place first: between the two steps a newcomer must not see both counts low. */
        atomic_fetch_add_explicit(&group->word, ONE_RUNNING, memory_order_relaxed);
        unlink_call(group, call);
        call->permitted = true;
        (void)atoll__call_move(call, call->ticket, 1u << ATOLL__QUEUED, ATOLL__STARTING);
    }
    (void)pthread_mutex_unlock(&group->lock);
    return call;
}

/* One thread at a time; whoever comes meanwhile, even from inside call_start, only says that there is
 * more to do. No guest runs here, for a call that has waited is not allowed to run inline: but while
 * others submit and end calls there always is more to do, and the thread may be an event loop's, on
 * its way out of a call of its own. So it starts some and leaves the rest to whoever ends a call
 * next, or to the warden, for there may be no next one: all that ran may have ended while it was
 * here. The warden is woken for it: until it comes places are free, and newcomers wait in the queue
 * or are refused. */
static void pump(group_t *group, uint32_t number) {
    /* SYNC POINT: group-pump; paired with itself. What a comer changed is seen by who pumps for it:
     * it subtracts what it has seen, and looks again where that is not all. */
    uint32_t seen = atomic_fetch_add_explicit(&group->pumping, 1, memory_order_seq_cst) + 1;
    if (seen != 1) return;
    uint32_t started = 0;
    do {
        /* SYNC POINT: group-pump, the comers' announcements. */
        seen = atomic_load_explicit(&group->pumping, memory_order_seq_cst);
        atoll__call_t *call;
        while (started < ATOLL__STARTS_MAX && (call = take_waiting(group)) != NULL) {
            atoll__call_start_queued(call);
            started++;
        }
        if (started == ATOLL__STARTS_MAX) {
            /* SYNC POINT: group-pump, given up for all who came: the mail is for them as well. An
             * exchange, to have seen what they changed: whoever reads the mail sees it then. */
            (void)atomic_exchange_explicit(&group->pumping, 0, memory_order_seq_cst);
            atoll__mailbox_post(ATOLL__MAIL_PUMP, number);
            atoll__warden_poke();
            return;
        }
        /* SYNC POINT: group-pump, its end. */
    } while (
        atomic_fetch_sub_explicit(&group->pumping, seen, memory_order_seq_cst) != seen);
}

bool atoll__group_leave(uint32_t number) {
    group_t *group = group_at(number);
    /* SYNC POINT: group-leave; paired with group-enter, group-wait. */
    uint64_t word = atomic_fetch_sub_explicit(&group->word, ONE_RUNNING, memory_order_seq_cst);
    ATOLL__WINDOW();
    /* SYNC POINT: group-idle. After the place came free; paired with group-removed, group-free. */
    if (atomic_load_explicit(&group->removed, memory_order_seq_cst) != 0)
        free_if_idle(group, number);
    return queued_of(word) > 0;
}

void atoll__group_pump(uint32_t number) {
    pump(group_at(number), number);
}

void atoll__groups_pump(void) {
    (void)pthread_mutex_lock(&table_lock);
    uint32_t used = groups_used;
    (void)pthread_mutex_unlock(&table_lock);
    for (uint32_t i = 0; i < used; i++)
        if (queued_of(atomic_load(&groups[i].word)) > 0) pump(&groups[i], i);
}

atoll_status_t atoll__group_set(uint32_t number, const atoll_group_limits_t *limits) {
    group_t *group = group_at(number);
    if (!limits_valid(limits)) return ATOLL_INVALID_ARGUMENT;
    if (group == NULL || !is_life(atomic_load(&group->word), number) || is_removed(group))
        return ATOLL_NOT_FOUND;
    (void)pthread_mutex_lock(&group->lock);
    /* Removed and added again in the meantime? Then these limits are not for it. */
    bool alive = is_life(atomic_load(&group->word), number);
    if (alive) set_limits(group, limits);
    (void)pthread_mutex_unlock(&group->lock);
    if (!alive) return ATOLL_NOT_FOUND;
    pump(group, number);
    return ATOLL_OK;
}

bool atoll__group_withdraw(atoll__call_t *call) {
    group_t *group = group_at(call->group);
    (void)pthread_mutex_lock(&group->lock);
    uint32_t from = 1u << ATOLL__QUEUED;
    bool waited = atoll__call_move(call, call->ticket, from, ATOLL__DONE) != ATOLL__FREE;
    if (waited) unlink_call(group, call);
    (void)pthread_mutex_unlock(&group->lock);
    return waited;
}

/* Takes the calls out whose deadline is over; they are linked by queue_next. */
static atoll__call_t *take_expired(group_t *group, uint64_t now_ns) {
    atoll__call_t *expired = NULL;
    (void)pthread_mutex_lock(&group->lock);
    for (atoll__call_t *call = group->first; call != NULL;) {
        atoll__call_t *next = call->queue_next;
        if (call->request.deadline_ns <= now_ns) {
            unlink_call(group, call);
            (void)atoll__call_move(call, call->ticket, 1u << ATOLL__QUEUED, ATOLL__DONE);
            call->queue_next = expired;
            expired = call;
        }
        call = next;
    }
    (void)pthread_mutex_unlock(&group->lock);
    return expired;
}

void atoll__groups_expire(uint64_t now_ns) {
    (void)pthread_mutex_lock(&table_lock);
    uint32_t used = groups_used;
    (void)pthread_mutex_unlock(&table_lock);
    for (uint32_t i = 0; i < used; i++) {
        if (queued_of(atomic_load(&groups[i].word)) == 0) continue;
        for (atoll__call_t *call = take_expired(&groups[i], now_ns); call != NULL;) {
            atoll__call_t *next = call->queue_next;
            atoll__call_finish(call, ATOLL__DONE, ATOLL_DEADLINE, 0, NULL, 0);
            call = next;
        }
    }
}

void atoll__groups_clear(void) {
    (void)pthread_mutex_lock(&table_lock);
    for (uint32_t i = 0; i < groups_used; i++) {
        uint64_t word = atomic_load(&groups[i].word);
        assert(running_of(word) == 0 && queued_of(word) == 0);
        (void)word;
        atomic_store(&groups[i].word, 0);
    }
    (void)pthread_mutex_unlock(&table_lock);
}

uint32_t atoll__groups_queued(void) {
    /* SYNC POINT: tick-look; paired with queue-counted. */
    return atomic_load_explicit(&queued_now, memory_order_seq_cst);
}
