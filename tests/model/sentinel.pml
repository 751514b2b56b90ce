/* The protocol of src/lock/sentinel.c, step by step under the same names (S1 to S6): every order of
 * the steps of N processes of which CRASHES die anywhere. A file is a byte: 0 is absent, else whose
 * record it has. Reading, publishing and removing a file are one step each, what lies between two of
 * them is not. tests/all_model.sh runs it; LIVE: a dead leader is replaced, else: never two leaders.
 *
 * The mutations are defined from outside: UNLINK (removing without a claim), ASIDE (renaming aside),
 * NOT_REREAD (S5 does not look again), NO_TOKEN (one name for all claims), RELEASE (S6 does not look
 * for its own token), TORN (S1 makes the file and fills it in two steps). RELEASE needs an owner who
 * lost its file, as when a person removes it: PERSON. */
#ifndef N
#define N 3
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#define ROUNDS 2 /* times of holding a process has; each with a token of its own */
#define TOKENS (N * ROUNDS)
#define EMPTY  255
#define OF(token) (((token) - 1) / ROUNDS)

byte owner;               /* poll.lock.owner: the token in it */
byte claim[TOKENS + 1];   /* poll.lock.reap.<token of a dead owner>: the claimant + 1 */
byte second[N + 1];       /* poll.lock.reap.<token of a dead claimant>: the claimant + 1 */
bool dead[N];
byte holders, crashes, removed;

#define STRANDED (owner != 0 && (owner == EMPTY || dead[OF(owner)]))

#ifdef NO_TOKEN
#define NAME(token) 0
#else
#define NAME(token) token
#endif

/* A process may die before each step. */
#define MAY_DIE                                                                                    \
    if                                                                                             \
    :: atomic { crashes < CRASHES -> crashes++; dead[me] = 1; goto end }                           \
    :: true                                                                                        \
    fi

proctype contender(byte me) {
    byte round, token, seen, mine, theirs;
again:
    token = me * ROUNDS + round + 1;
try_it:
    MAY_DIE;
    seen = owner; /* S3: read it */
    if
    :: seen == 0 ->
        MAY_DIE;
#ifdef TORN
        atomic { if :: owner == 0 -> owner = EMPTY; mine = 1 :: else -> mine = 0 fi }
        if :: mine -> MAY_DIE; owner = token :: else fi;
#else
        atomic { if :: owner == 0 -> owner = token; mine = 1 :: else -> mine = 0 fi } /* S1 */
#endif
        if :: mine -> goto leads :: else -> goto try_it fi
    :: seen == EMPTY -> goto wait_for_a_change
    :: seen != 0 && seen != EMPTY && !dead[OF(seen)] -> goto wait_for_a_change /* S3: BUSY */
    :: seen != 0 && seen != EMPTY && dead[OF(seen)] -> skip
    fi;
#ifdef UNLINK
    MAY_DIE;
    owner = 0;
    goto try_it;
#endif
#ifdef ASIDE
    MAY_DIE;
    atomic { theirs = owner; owner = 0 }
    if
    :: theirs != 0 && theirs != seen -> MAY_DIE;
        atomic { if :: owner == 0 -> owner = theirs :: else fi }
    :: else
    fi;
    goto try_it;
#endif
    MAY_DIE;
    atomic { /* S4 */
        if :: claim[NAME(seen)] == 0 -> claim[NAME(seen)] = me + 1; mine = 1 :: else -> mine = 0 fi
    }
    if
    :: mine ->
        MAY_DIE;
#ifdef NOT_REREAD
        theirs = seen;
#else
        theirs = owner; /* S5: read it once more */
#endif
        MAY_DIE;
        if :: theirs == seen -> owner = 0 :: else fi; /* S5: remove it */
        MAY_DIE;
        claim[NAME(seen)] = 0; /* S5: remove the claim */
        goto try_it
    :: else -> skip
    fi;
    theirs = claim[NAME(seen)]; /* S4: somebody's claim is judged in its turn */
    if
    :: theirs == 0 -> goto try_it
    :: theirs != 0 && !dead[theirs - 1] -> goto wait_for_a_change
    :: theirs != 0 && dead[theirs - 1] -> skip
    fi;
#ifdef NO_TOKEN
    goto wait_for_a_change; /* the claim on the claim has the name of the claim itself */
#endif
    MAY_DIE;
    atomic { if :: second[theirs] == 0 -> second[theirs] = me + 1; mine = 1 :: else -> mine = 0 fi }
    if
    :: mine ->
        MAY_DIE;
        mine = claim[NAME(seen)];
        MAY_DIE;
        if :: mine == theirs -> claim[NAME(seen)] = 0 :: else fi;
        MAY_DIE;
        second[theirs] = 0
    :: else -> skip /* three deep: more deaths than this model has */
    fi;
    goto try_it;

wait_for_a_change: /* AGT_BUSY: the caller comes again */
    goto try_it;

leads:
#ifndef PERSON
    holders++;
    assert(holders == 1);
#endif
    if
    :: atomic { crashes < CRASHES -> crashes++; dead[me] = 1;
#ifndef PERSON
        holders--;
#endif
        goto end }
    :: true
    fi;
#ifdef PERSON
    atomic { if :: removed == 0 -> removed = 1; owner = 0 :: true fi }
#else
    holders--;
#endif
    /* S6 */
#ifdef RELEASE
    seen = owner;
    assert(seen == 0 || seen == token || seen == EMPTY); /* what it removes is its own */
    owner = 0;
#else
    seen = owner;
    MAY_DIE;
    if :: seen == token -> assert(owner == token); owner = 0 :: else fi;
#endif
#ifdef LIVE
    round = (round + 1) % ROUNDS;
    goto again;
#else
    round++;
    if :: round < ROUNDS -> goto again :: else fi;
#endif
end:
    skip
}

init {
    byte i;
    atomic {
        for (i : 0 .. N - 1) { run contender(i) }
    }
}

#ifdef LIVE
ltl replaced { [] (STRANDED -> <> !STRANDED) }
#endif
