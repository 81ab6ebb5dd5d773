// All triples of players by the sign of their statistic's terms, in bits: one word holds 64 masks.

#include <cstdint>

namespace {

constexpr int64_t BLOCK = 64;  // third players counted at a time

// For each of BLOCK third players, on how many masks the product of three players and the residual is negative.
template <int WORDS>
inline void count_negative(const uint64_t *thirds, const uint64_t *pair, uint64_t *counts) {
    for (int64_t k = 0; k < BLOCK; ++k) {
        uint64_t total = 0;
        for (int w = 0; w < WORDS; ++w) total += __builtin_popcountll(thirds[w * BLOCK + k] ^ pair[w]);
        counts[k] = total;
    }
}

template <int WORDS>
int64_t search(const uint64_t *players, const uint64_t *residual, int64_t n_players, uint64_t low, uint64_t high,
               int32_t *found, int64_t room) {
    int64_t n_found = 0;
    uint64_t pair[WORDS], counts[BLOCK];
    for (int64_t i = 0; i + 2 < n_players; ++i) {
        for (int64_t j = i + 1; j + 1 < n_players; ++j) {
            const uint64_t *first = players + i / BLOCK * WORDS * BLOCK + i % BLOCK;
            const uint64_t *second = players + j / BLOCK * WORDS * BLOCK + j % BLOCK;
            for (int w = 0; w < WORDS; ++w) pair[w] = first[w * BLOCK] ^ second[w * BLOCK] ^ residual[w];
            for (int64_t start = j / BLOCK * BLOCK; start < n_players; start += BLOCK) {
                count_negative<WORDS>(players + start * WORDS, pair, counts);
                uint64_t any = 0;  // without a branch for each: few triples pass
                for (int64_t k = 0; k < BLOCK; ++k) any |= counts[k] <= low || counts[k] >= high;
                if (!any) continue;
                for (int64_t k = 0; k < BLOCK; ++k) {
                    const int64_t third = start + k;
                    if (third <= j || third >= n_players || (counts[k] > low && counts[k] < high)) continue;
                    if (n_found < room) {
                        found[3 * n_found] = static_cast<int32_t>(i);
                        found[3 * n_found + 1] = static_cast<int32_t>(j);
                        found[3 * n_found + 2] = static_cast<int32_t>(third);
                    }
                    ++n_found;
                }
            }
        }
    }
    return n_found;
}

}  // namespace

// Writes up to `room` triples with at most `low` or at least `high` negative products, and returns how many there are;
// -1 for a number of words that was not compiled. players: (blocks, words, 64) words, residual: (words,).
extern "C" int64_t sieve_signs(const uint64_t *players, const uint64_t *residual, int64_t n_words, int64_t n_players,
                               uint64_t low, uint64_t high, int32_t *found, int64_t room) {
    switch (n_words) {
        case 4: return search<4>(players, residual, n_players, low, high, found, room);
        case 8: return search<8>(players, residual, n_players, low, high, found, room);
        case 16: return search<16>(players, residual, n_players, low, high, found, room);
        default: return -1;
    }
}
