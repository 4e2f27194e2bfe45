/* When the warden may sleep without a limit (src/warden.c, src/mailbox.c): tick-wanted against
 * tick-idle. A mail that is never read is an invalid end state.
 *
 * EARLY: the warden looks for work before it says that it goes to sleep, and not after. With it
 * spin must find a mail that waits for ever. */

#define POSTS 2

byte waiting; /* mails */
bool ticking;
bool poked;   /* the eventfd */
byte reads;

proctype poster() {
    waiting++;
    if
    :: !ticking -> poked = true
    :: else -> skip
    fi
}

proctype warden() {
    bool tick, work;
    do
    ::  /* atoll__mailbox_drain */
        do
        :: atomic { waiting > 0 -> waiting--; reads++ }
        :: waiting == 0 -> break
        od;
        /* Idle for long enough, or not yet. */
        if
        :: tick = true
        :: tick = false
        fi;
#ifdef EARLY
        work = waiting > 0;
        ticking = tick;
#else
        ticking = tick;
        work = waiting > 0;
#endif
        if
        :: tick || work -> skip   /* wakes by itself */
        :: else ->
end_asleep: poked             /* sleeps until it is poked, for ever if all is read */
        fi;
        poked = false
    od
}

init {
    atomic { run warden(); run poster(); run poster() }
    reads == POSTS
}
