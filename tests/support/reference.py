"""Plain NumPy references of what the Rust core does, written to be read and not to be fast."""

import math

import numpy as np

# --- groups ---------------------------------------------------------------------------------------


def members(groups, group):
    return np.flatnonzero(groups == group)


class GroupWeights:
    """Debiased Prompt Tuning's weights: w += (1 - m)(target - w), target ∝ exp(eta(1 - p̄)) / N over the observed."""

    def __init__(self, counts, eta, momentum):
        self.counts, self.eta, self.momentum = np.asarray(counts, np.float64), eta, momentum
        nonempty = self.counts > 0
        mass = self.counts.sum() / nonempty.sum()
        self.group_weights = np.divide(mass, self.counts, out=np.zeros_like(self.counts), where=nonempty)
        self.mean_p_true = np.full(len(self.counts), np.nan)
        self.seen = [[] for _ in self.counts]

    def observe(self, groups, p_true):
        for group, p in zip(groups, p_true, strict=True):
            if group >= 0 and self.counts[group] > 0:
                self.seen[group].append(p)

    def step(self):
        observed = [g for g, seen in enumerate(self.seen) if seen]
        for g in observed:
            self.mean_p_true[g] = np.mean(self.seen[g])
        raw = np.exp(self.eta * (1 - self.mean_p_true[observed])) / self.counts[observed]
        mass = (self.counts * self.group_weights)[observed].sum()
        target = raw * mass / (self.counts[observed] * raw).sum() if observed else raw
        self.group_weights[observed] += (1 - self.momentum) * (target - self.group_weights[observed])
        self.seen = [[] for _ in self.counts]


class GroupDRO:
    """Sagawa et al.: q *= exp(step_size * loss), then divided by its sum.

    The loss of a group is estimated from any number of draws: their sum over how many of the group are expected.
    """

    def __init__(self, counts, step_size, shares=None):
        self.counts, self.step_size = np.asarray(counts, np.float64), step_size
        shares = self.counts if shares is None else shares
        self.shares = shares / np.sum(shares)
        self.log_q = np.where(self.counts > 0, 0.0, -np.inf)
        self.seen = [[] for _ in self.counts]

    def observe(self, groups, losses):
        for group, loss in zip(groups, losses, strict=True):
            if group >= 0 and self.counts[group] > 0:
                self.seen[group].append(loss)

    def step(self):
        draws = sum(map(len, self.seen))
        for g, seen in enumerate(self.seen):
            if draws and self.counts[g] > 0:
                loss = sum(seen) / (draws * self.shares[g])
                self.log_q[g] += self.step_size * loss
        self.seen = [[] for _ in self.counts]

    @property
    def q(self):
        relative = np.exp(self.log_q - self.log_q.max())
        return relative / relative.sum()

    @property
    def group_weights(self):
        filled = self.counts > 0
        return np.divide(self.q * self.counts.sum(), self.counts, out=np.zeros_like(self.q), where=filled)


# --- the group stream -----------------------------------------------------------------------------

M64 = 2**64 - 1
M32 = 2**32 - 1
GOLDEN = 0x9E3779B97F4A7C15
PERMUTATION, LAST_PASS, INDEPENDENT, WEIGHTED, LAST_PASS_ROUNDS, BATCHES, BATCH_MEMBERS = 1, 2, 4, 5, 6, 7, 8
TURN, TURNS = 9, 10


def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & M64
    return z ^ (z >> 31)


class Key:
    """A stream of random numbers, and the streams within it."""

    def __init__(self, base):
        self.base = base

    @classmethod
    def of(cls, seed, purpose, counter):
        return cls(mix(mix(seed + GOLDEN * purpose & M64) + GOLDEN * counter & M64))

    def bits(self, position):
        return mix(self.base + GOLDEN * (position + 1) & M64)

    def below(self, position, bound):
        return self.bits(position) * bound >> 64

    def substream(self, position):
        return Key(self.bits(position))

    def reorder(self, values):
        values = list(values)
        for last in range(len(values) - 1, 0, -1):
            other = self.below(last, last + 1)
            values[last], values[other] = values[other], values[last]
        return values


def exact_quotas(shares, num_samples, least=0, most=np.inf):
    """Draws as real numbers: those between the bounds in proportion to the shares, found by bisection."""
    shares, has_share = np.asarray(shares) / np.sum(shares), np.asarray(shares) > 0
    low, high = 0.0, num_samples / (1 if most == np.inf else shares[has_share].min())
    for _ in range(200):
        scale = (low + high) / 2
        found = np.where(has_share, np.clip(scale * shares, least, most), 0.0)
        low, high = (scale, high) if found.sum() < num_samples else (low, scale)
    return found


def divided(shares, total):
    """Largest remainder; ties go to the lower group."""
    exact = np.asarray(shares) * total / np.sum(shares)
    whole = np.floor(exact).astype(np.int64)
    order = np.lexsort((np.arange(len(exact)), -(exact - whole)))
    order = order[exact[order] > 0]
    left = total - whole.sum()
    more, fewer = (order[:left], order[:0]) if left >= 0 else (order[:0], order[left:])
    whole[more] += 1
    whole[fewer] -= 1
    return whole


def quotas(shares, num_samples, seed, epoch):
    """The draws of an epoch below 2**31: what is left over goes to other groups in each."""
    units, (turn, epoch) = divided(shares, num_samples << 32), divmod(epoch, 1 << 16)
    found, fractions = units >> 32, units % 2**32
    order = Key.of(seed, TURNS, 0).substream(1).reorder(np.flatnonzero(fractions).tolist())
    start = (Key.of(seed, TURNS, 0).bits(0) + turn * GOLDEN & M64) * 2**16 >> 64
    ends = np.cumsum([start, *fractions[order].tolist()]) >> 16
    extra = dict(zip(order, np.diff(ends).tolist(), strict=True))  # of each group, in the whole turn
    ahead, first, size = dict.fromkeys(order, 0), 0, 1 << 16
    while size > 1:
        size //= 2
        key = Key.of(seed, TURN, turn).substream(size.bit_length() - 1).substream(first // size // 2)
        middle = {g: (ahead[g] + extra[g] / 2) - int(fractions[g]) * size / 2**32 for g in order}
        odd = [g for g in order if extra[g] % 2]
        behind, beyond = [g for g in odd if middle[g] < -1], [g for g in odd if middle[g] > 1]
        gets_first = set()
        for some in (behind, [g for g in odd if g not in behind + beyond], beyond):
            left = len(odd) // 2 - len(gets_first)
            gets_first |= set(some if left >= len(some) else key.reorder(some)[:left])
        halves = {g: (extra[g] // 2 + (g in gets_first)) for g in order}
        if epoch >= first + size:
            first += size
            ahead = {g: ahead[g] + halves[g] - int(fractions[g]) * size / 2**32 for g in order}
            halves = {g: extra[g] - halves[g] for g in order}
        extra = halves
    for group, more in extra.items():
        found[group] += more
    return found


def feistel(n, keys):
    """Permute 0..n-1 by a Feistel network with these keys of its rounds; values from n on are walked back."""
    a = math.isqrt(n - 1) + 1
    b = -(-n // a)

    def hashed(half, key, modulus):
        h = (half ^ (key & M32)) * 0x9E3779B1 & M32
        h = ((h ^ (h >> 15)) + (key >> 32)) * 0x85EBCA77 & M32
        return h * modulus >> 32

    def network(value):
        high, low = value // a, value % a
        for i in range(0, len(keys), 2):
            low = (low + hashed(high, keys[i], a)) % a
            high = (high + hashed(low, keys[i + 1], b)) % b
        return high * a + low

    values = network(np.arange(n, dtype=np.int64).astype(object))
    while (outside := values >= n).any():
        values[outside] = network(values[outside])
    return values.astype(np.int64)


def permutation(n, seed, epoch):
    """A table up to 4,096, above a network of six rounds."""
    key = Key.of(seed, PERMUTATION, epoch)
    return np.array(key.reorder(range(n))) if n <= 4096 else feistel(n, [key.bits(i) for i in range(6)])


def group_stream(groups, quota, seed, epoch):
    """Group g owns quota[g] consecutive slots of a permuted epoch: whole passes over its members, and part of one."""
    keys, rounds = Key.of(seed, LAST_PASS, epoch), Key.of(seed, LAST_PASS_ROUNDS, epoch)
    slots = []
    for group, q in enumerate(quota):
        if q > 0:
            rows = members(groups, group)
            whole, rest = divmod(q, len(rows))
            last = pass_over(len(rows), keys.substream(group), rounds)[:rest]
            slots.append(np.concatenate([np.tile(rows, whole), rows[last]]))
    return np.concatenate(slots)[permutation(int(np.sum(quota)), seed, epoch)]


def independent_stream(groups, quota, length, seed, epoch):
    """Draw i points at a slot of the wheel, and then at a member of the group that owns it."""
    ends, total, key = np.cumsum(quota), int(np.sum(quota)), Key.of(seed, INDEPENDENT, epoch)
    draws = []
    for i in range(length):
        slot = key.below(2 * i, total)
        rows = members(groups, int(np.searchsorted(ends, slot, side="right")))
        draws.append(rows[key.below(2 * i + 1, len(rows))])
    return np.array(draws)


# --- batches --------------------------------------------------------------------------------------


def pass_over(n, key, rounds):
    """The order in which a pass goes through n members: a table up to 64, above a network of eight rounds."""
    return key.reorder(range(n)) if n <= 64 else feistel(n, [rounds.bits(i) ^ key.bits(0) for i in range(8)])


def phase_step(num_batches):
    """Near the golden ratio, coprime, with the smallest sum of partial quotients."""

    def quotients(a, b):
        total = 0
        while b:
            total, a, b = total + a // b, b, a % b
        return total

    golden = num_batches * GOLDEN >> 64
    coprime = [step for step in range(golden, golden + 128) if math.gcd(step, num_batches) == 1]
    return min(coprime, key=lambda step: (quotients(num_batches, step), step))


def batch_stream(groups, quota, batch_size, seed, epoch):
    """The epoch's draws lie side by side, group after group; batch b takes every n-th from its phase on."""
    num_batches = int(np.sum(quota)) // batch_size
    keys, members_of = Key.of(seed, BATCHES, epoch), Key.of(seed, BATCH_MEMBERS, epoch)
    order = keys.substream(1).reorder(g for g, q in enumerate(quota) if q > 0)
    owner = np.repeat(order, [quota[g] for g in order])
    drawn, passes = dict.fromkeys(order, 0), {}
    batches = []
    for batch in range(num_batches):
        phase = (keys.below(0, num_batches) + batch * phase_step(num_batches)) % num_batches
        rows = []
        for group in owner[num_batches - 1 - phase :: num_batches].tolist():
            mine = members(groups, group)
            number, position = divmod(drawn[group], len(mine))
            if position == 0:
                key = members_of.substream(group).substream(number)
                passes[group] = pass_over(len(mine), key, keys.substream(3))
            rows.append(mine[passes[group][position]])
            drawn[group] += 1
        batches.append(keys.substream(2).substream(batch).reorder(rows))
    return np.array(batches, dtype=np.int64)


# --- pseudo attributes ----------------------------------------------------------------------------


def softmax(logits):
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def squared_distances(points, center):
    """float32, column after column, as the core adds them up."""
    total = np.zeros(len(points), np.float32)
    for column in range(points.shape[1]):
        difference = points[:, column] - np.float32(center[column])
        total = total + difference * difference
    return total


def lloyd(points, centers, max_iter):
    """Lloyd's algorithm without the rule for empty clusters; labels belong to the returned centers."""
    labels = None
    for iterations in range(max_iter + 1):
        previous, labels = labels, np.argmin([squared_distances(points, c) for c in centers], axis=0)
        if iterations == max_iter or (previous is not None and (labels == previous).all()):
            break
        centers = np.array([points[labels == c].astype(np.float64).mean(axis=0) for c in range(len(centers))])
    inertia = ((points.astype(np.float64) - centers[labels]) ** 2).sum()
    return labels, centers, inertia, iterations
