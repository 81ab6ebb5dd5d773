// Layers of native.cpp: activations, convolutions, normalisation, shortcuts.

// Layout. An activation is [channel][row][border | column 0 of all images | column 1 of all images | ... | border]: the
// images of a batch lie side by side, so that a row of all of them is one long vector, a shift by a pixel is a shift by
// `images` numbers, and the zero border is the convolution's padding. Stride 2 reads even and odd columns from two planes,
// which makes every convolution, forward and backward, a sum of shifted rows times single weights.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kBlock = 8;  // 8 output channels x 3 vectors: 24 of 32 registers
#elif defined(__AVX__)
constexpr int kBytes = 32, kBlock = 4;  // 12 of 16
#else
constexpr int kBytes = 16, kBlock = 4;
#endif
constexpr double kEpsilon = 1e-5, kMomentum = 0.1;  // torch.nn.BatchNorm2d's own
constexpr int kStages = 3, kTaps = 9;

template <class T> struct Vector {
    typedef T type __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
    static constexpr int lanes = kBytes / sizeof(T);
};
template <class T> using Vec = typename Vector<T>::type;
template <class T> inline Vec<T> load(const T* from) { return *reinterpret_cast<const Vec<T>*>(from); }
template <class T> inline void store(T* to, Vec<T> v) { *reinterpret_cast<Vec<T>*>(to) = v; }
template <class T> inline T total(Vec<T> v) {  // halves added to halves: a chain of single additions would be slow
    T numbers[Vector<T>::lanes];
    store(numbers, v);
    for (int half = Vector<T>::lanes / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) numbers[lane] += numbers[lane + half];
    return numbers[0];
}

// 1 in the first `count` numbers, 0 in those behind them.
template <class T> struct Lanes {
    T values[2 * Vector<T>::lanes];
    constexpr Lanes() : values() {
        for (int lane = 0; lane < Vector<T>::lanes; ++lane) values[lane] = T(1);
    }
};
template <class T> inline constexpr Lanes<T> kLanes{};
template <class T> inline Vec<T> first_lanes(int count) { return load(kLanes<T>.values + Vector<T>::lanes - count); }

// --- activations ---------------------------------------------------------------------------------------------

template <class T> struct Plane {
    int channels, height, width, images, row;  // row: numbers from one row to the next
    std::vector<T> values;

    Plane() : channels(0), height(0), width(0), images(0), row(0) {}
    Plane(int channels, int height, int width, int images)
        : channels(channels), height(height), width(width), images(images) {
        const int lanes = Vector<T>::lanes;
        row = (2 * images + width * images + lanes + lanes - 1) / lanes * lanes;
        values.assign(size_t(channels) * height * row + lanes, T(0));
    }
    size_t channel() const { return size_t(height) * row; }
    int length() const { return width * images; }
    T* at(int c, int y) { return values.data() + c * channel() + size_t(y) * row + images; }  // past the left border
    const T* at(int c, int y) const { return const_cast<Plane*>(this)->at(c, y); }
};

// Even columns in channel 2c, odd columns in channel 2c + 1.
template <class T> void split_columns(const Plane<T>& from, Plane<T>& to) {
    const size_t bytes = from.images * sizeof(T);
    for (int c = 0; c < from.channels; ++c)
        for (int y = 0; y < from.height; ++y)
            for (int x = 0; x < from.width; ++x)
                std::memcpy(to.at(2 * c + (x & 1), y) + (x >> 1) * from.images, from.at(c, y) + x * from.images, bytes);
}

// --- convolutions as sums of shifted rows ----------------------------------------------------------------------

struct Taps {  // which shifted rows make one row: where each begins, and the number of its weight
    int count = 0;
    ptrdiff_t offset[kTaps];
    int weight[kTaps];
    void add(ptrdiff_t where, int which) { offset[count] = where, weight[count++] = which; }
};

// kBlock output channels, `vectors` vectors of one row. weights: [input channel][kTaps][kBlock].
template <class T, int vectors>
inline void row_of_block(const T* in, size_t in_channel, int in_channels, const Taps& taps, const T* weights, T* out,
                         size_t out_channel, int out_channels, int length, bool add) {
    constexpr int lanes = Vector<T>::lanes;
    Vec<T> sums[kBlock][vectors] = {};
    for (int c = 0; c < in_channels; ++c) {
        const T* base = in + c * in_channel;
        const T* own = weights + size_t(c) * kTaps * kBlock;
        for (int t = 0; t < taps.count; ++t) {
            const T* from = base + taps.offset[t];
            const T* w = own + taps.weight[t] * kBlock;
            Vec<T> x[vectors];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) x[v] = load(from + v * lanes);
#pragma GCC unroll 8
            for (int k = 0; k < kBlock; ++k) {
#pragma GCC unroll 8
                for (int v = 0; v < vectors; ++v) sums[k][v] += w[k] * x[v];
            }
        }
    }
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) {
        if (k >= out_channels) break;
        T* to = out + k * out_channel;
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            const int left = length - v * lanes;
            const Vec<T> sum = add ? Vec<T>(load(to + v * lanes) + sums[k][v]) : sums[k][v];
            store(to + v * lanes, left >= lanes ? sum : Vec<T>(sum * first_lanes<T>(left)));  // zero behind the row
        }
    }
}

template <class T>
void sum_of_rows(const T* in, size_t in_channel, int in_channels, const Taps& taps, const T* packed, T* out,
                 size_t out_channel, int out_channels, int length, bool add) {
    constexpr int lanes = Vector<T>::lanes;
    for (int block = 0; block < out_channels; block += kBlock) {
        const T* weights = packed + size_t(block) * in_channels * kTaps;
        T* to = out + block * out_channel;
        const int valid = out_channels - block;
        int at = 0, left = (length + lanes - 1) / lanes;
        while (left) {
            const int vectors = left == 4 || left == 2 ? 2 : left == 1 ? 1 : 3;
            const auto row = vectors == 3 ? row_of_block<T, 3> : vectors == 2 ? row_of_block<T, 2> : row_of_block<T, 1>;
            row(in + at, in_channel, in_channels, taps, weights, to + at, out_channel, valid, length - at, add);
            at += vectors * lanes, left -= vectors;
        }
    }
}

// weights [out][in][9] as [block of out][in][9][kBlock]; with `transposed`, blocks of in: [block of in][out][9][kBlock].
template <class T> void pack(const T* weights, int out, int in, bool transposed, std::vector<T>& packed) {
    const int outer = transposed ? in : out, inner = transposed ? out : in;
    packed.resize(size_t((outer + kBlock - 1) / kBlock) * kBlock * inner * kTaps);
    if (outer % kBlock) std::fill(packed.begin(), packed.end(), T(0));
    for (int o = 0; o < out; ++o)
        for (int i = 0; i < in; ++i) {
            const int a = transposed ? i : o, b = transposed ? o : i;
            for (int t = 0; t < kTaps; ++t)
                packed[((size_t(a / kBlock) * inner + b) * kTaps + t) * kBlock + a % kBlock] =
                    weights[(size_t(o) * in + i) * kTaps + t];
        }
}

template <class T> class Convolution {
  public:
    Convolution(int in, int out, int stride, int height, int width, int images) : in(in), out(out), stride(stride) {
        if (stride == 2) parts = Plane<T>(2 * in, height, (width + 1) / 2, images);
    }
    size_t n_weights() const { return size_t(out) * in * kTaps; }

    void forward(const Plane<T>& x, const T* weights, Plane<T>& z) {
        pack(weights, out, in, false, packed);
        if (stride == 2) split_columns(x, parts);
        const Plane<T>& from = stride == 2 ? parts : x;
        for (int y = 0; y < z.height; ++y) {
            Taps taps;
            for (int ky = 0; ky < 3; ++ky) {
                const int iy = stride * y + ky - 1;
                if (iy < 0 || iy >= from.height) continue;
                for (int kx = 0; kx < 3; ++kx) taps.add(place(from, iy, kx), 3 * ky + kx);
            }
            sum_of_rows(from.at(0, 0), channel(from), in, taps, packed.data(), z.at(0, y), z.channel(), out, z.length(),
                        false);
        }
    }

    // dx += (add) or = gradient with respect to the input, stride 1.
    void backward_input(const Plane<T>& dz, const T* weights, Plane<T>& dx, bool add) {
        pack(weights, out, in, true, packed);
        for (int y = 0; y < dx.height; ++y) {
            Taps taps;
            for (int ky = 0; ky < 3; ++ky) {
                const int gy = y + 1 - ky;
                if (gy < 0 || gy >= dz.height) continue;
                for (int kx = 0; kx < 3; ++kx)
                    taps.add(ptrdiff_t(gy) * dz.row + ptrdiff_t(1 - kx) * dz.images, 3 * ky + kx);
            }
            sum_of_rows(dz.at(0, 0), dz.channel(), out, taps, packed.data(), dx.at(0, y), dx.channel(), in, dx.length(),
                        add);
        }
    }

    // The same for stride 2: even and odd columns of the input's gradient, as in `parts`.
    void backward_parts(const Plane<T>& dz, const T* weights, Plane<T>& d_parts) {
        pack(weights, out, in, true, packed);
        for (int y = 0; y < d_parts.height; ++y)
            for (int odd = 0; odd < 2; ++odd) {
                Taps taps;
                for (int ky = (y + 1) % 2; ky < 3; ky += 2) {
                    const int gy = (y + 1 - ky) / 2;
                    if (gy < 0 || gy >= dz.height) continue;
                    for (int kx = 1 - odd; kx < 3; kx += 2)
                        taps.add(ptrdiff_t(gy) * dz.row + (kx == 0 ? dz.images : 0), 3 * ky + kx);
                }
                sum_of_rows(dz.at(0, 0), dz.channel(), out, taps, packed.data(), d_parts.at(odd, y),
                            2 * d_parts.channel(), in, d_parts.length(), false);
            }
    }

    // gradient [out][in][9]; for stride 2 `parts` still holds the split input of `forward`.
    void backward_weights(const Plane<T>& x, const Plane<T>& dz, T* gradient) {
        constexpr int lanes = Vector<T>::lanes;
        if (out >= 2 * lanes) return by_channel<2>(stride == 2 ? parts : x, dz, gradient);
        if (out >= lanes) return by_channel<1>(stride == 2 ? parts : x, dz, gradient);
        const Plane<T>& from = stride == 2 ? parts : x;
        const int strip = std::max(1, int(16384 / (kBlock * dz.row * sizeof(T))));  // rows that stay in the first cache
        sums.resize(size_t(in) * 3 * kBlock * 3 * lanes);
        for (int block = 0; block < out; block += kBlock) {
            std::fill(sums.begin(), sums.end(), T(0));
            for (int first = 0; first < dz.height; first += strip) {
                const int last = std::min(first + strip, dz.height);
                for (int c = 0; c < in; ++c)
                    for (int ky = 0; ky < 3; ++ky)
                        strip_of_weights(from, dz, block, c, ky, first, last, sums.data() + (c * 3 + ky) * kBlock * 3 * lanes);
            }
            for (int k = 0; k < kBlock && block + k < out; ++k)
                for (int c = 0; c < in; ++c)
                    for (int ky = 0; ky < 3; ++ky)
                        for (int kx = 0; kx < 3; ++kx)
                            gradient[(size_t(block + k) * in + c) * kTaps + 3 * ky + kx] =
                                total<T>(load(sums.data() + (((c * 3 + ky) * kBlock + k) * 3 + kx) * lanes));
        }
    }

    int in, out, stride;
    Plane<T> parts;

  private:
    // Where the row begins that tap kx of input row iy reads, from the first column of the first row.
    ptrdiff_t place(const Plane<T>& from, int iy, int kx) const {
        const ptrdiff_t row = ptrdiff_t(iy) * from.row;
        if (stride == 1) return row + ptrdiff_t(kx - 1) * from.images;
        return row + (kx == 1 ? 0 : ptrdiff_t(from.channel()) - (kx == 0 ? from.images : 0));
    }
    size_t channel(const Plane<T>& from) const { return stride * from.channel(); }

    void strip_of_weights(const Plane<T>& from, const Plane<T>& dz, int block, int c, int ky, int first, int last, T* kept) {
        constexpr int lanes = Vector<T>::lanes;
        const int length = dz.length();
        const T* base = from.at(0, 0) + c * channel(from);
        const T* d[kBlock];  // channels beyond the last are a copy of it, and dropped
        for (int k = 0; k < kBlock; ++k) d[k] = dz.at(std::min(block + k, out - 1), 0);
        Vec<T> sum[kBlock][3];
#pragma GCC unroll 8
        for (int k = 0; k < kBlock; ++k)
#pragma GCC unroll 8
            for (int kx = 0; kx < 3; ++kx) sum[k][kx] = load(kept + (k * 3 + kx) * lanes);
        for (int y = first; y < last; ++y) {
            const int iy = stride * y + ky - 1;
            if (iy < 0 || iy >= from.height) continue;
            const T *x0 = base + place(from, iy, 0), *x1 = base + place(from, iy, 1), *x2 = base + place(from, iy, 2);
            const size_t row = size_t(y) * dz.row;
            for (int at = 0; at < length; at += lanes) {  // behind the row, dz is zero
                const Vec<T> a = load(x0 + at), b = load(x1 + at), e = load(x2 + at);
#pragma GCC unroll 8
                for (int k = 0; k < kBlock; ++k) {
                    const Vec<T> g = load(d[k] + row + at);
                    sum[k][0] += g * a, sum[k][1] += g * b, sum[k][2] += g * e;
                }
            }
        }
#pragma GCC unroll 8
        for (int k = 0; k < kBlock; ++k)
#pragma GCC unroll 8
            for (int kx = 0; kx < 3; ++kx) store(kept + (k * 3 + kx) * lanes, sum[k][kx]);
    }

    // Many channels, few pixels: output channels side by side in a vector, so that nothing has to be summed across one.
    template <int vectors> void by_channel(const Plane<T>& from, const Plane<T>& dz, T* gradient) {
        constexpr int lanes = Vector<T>::lanes, wide = vectors * lanes, inputs = kBlock / vectors;
        const int length = dz.length(), padded = (out + wide - 1) / wide * wide;
        turned.resize(size_t(dz.height) * length * padded);
        if (padded != out) std::fill(turned.begin(), turned.end(), T(0));
        for (int y = 0; y < dz.height; ++y)
            for (int k = 0; k < out; ++k) {
                const T* d = dz.at(k, y);
                T* to = turned.data() + size_t(y) * length * padded + k;
                for (int i = 0; i < length; ++i) to[size_t(i) * padded] = d[i];
            }
        for (int block = 0; block < out; block += wide)
            for (int c = 0; c < in; c += inputs)
                for (int ky = 0; ky < 3; ++ky) {
                    Vec<T> sum[inputs][3][vectors] = {};
                    for (int y = 0; y < dz.height; ++y) {
                        const int iy = stride * y + ky - 1;
                        if (iy < 0 || iy >= from.height) continue;
                        const T* g = turned.data() + size_t(y) * length * padded + block;
                        const T* x[inputs];  // channels beyond the last are a copy of it, and dropped
                        for (int k = 0; k < inputs; ++k) x[k] = from.at(0, 0) + std::min(c + k, in - 1) * channel(from);
                        const ptrdiff_t x0 = place(from, iy, 0), x1 = place(from, iy, 1), x2 = place(from, iy, 2);
                        for (int i = 0; i < length; ++i, g += padded) {
                            Vec<T> d[vectors];
#pragma GCC unroll 8
                            for (int v = 0; v < vectors; ++v) d[v] = load(g + v * lanes);
#pragma GCC unroll 8
                            for (int k = 0; k < inputs; ++k) {
                                const T a = x[k][x0 + i], b = x[k][x1 + i], e = x[k][x2 + i];
#pragma GCC unroll 8
                                for (int v = 0; v < vectors; ++v)
                                    sum[k][0][v] += a * d[v], sum[k][1][v] += b * d[v], sum[k][2][v] += e * d[v];
                            }
                        }
                    }
                    for (int k = 0; k < inputs && c + k < in; ++k)
                        for (int kx = 0; kx < 3; ++kx)
                            for (int o = 0; o < wide && block + o < out; ++o)
                                gradient[(size_t(block + o) * in + c + k) * kTaps + 3 * ky + kx] =
                                    sum[k][kx][o / lanes][o % lanes];
                }
    }

    std::vector<T> packed, sums, turned;
};

// --- normalisation -----------------------------------------------------------------------------------------------

// Calls each(row of a, row of b, ...) for the rows of one channel.
template <class T> struct Norm {
    std::vector<T> mean, inverse;

    // y = relu(normalised z * gamma + beta (+ shortcut)); `share` of these statistics enters running [mean | variance].
    void forward(const Plane<T>& z, const T* gamma, const T* beta, T* running, T share, const Plane<T>* shortcut,
                 Plane<T>& y) {
        const int channels = z.channels;
        const T count = T(z.length()) * z.height;
        mean.resize(channels), inverse.resize(channels);
        for (int c = 0; c < channels; ++c) {
            mean[c] = sum_of<false>(z, c, T(0)) / count;
            const T square = sum_of<true>(z, c, mean[c]), variance = square / count;
            inverse[c] = T(1) / std::sqrt(variance + T(kEpsilon));
            running[c] += share * (mean[c] - running[c]);
            running[channels + c] += share * (square / (count - 1) - running[channels + c]);
            affine(z, c, gamma[c] * inverse[c], mean[c], beta[c], shortcut, y);
        }
    }

    // As above with running statistics.
    static void evaluate(const Plane<T>& z, const T* gamma, const T* beta, const T* running, const Plane<T>* shortcut,
                         Plane<T>& y) {
        for (int c = 0; c < z.channels; ++c) {
            const T scale = gamma[c] / std::sqrt(running[z.channels + c] + T(kEpsilon));
            affine(z, c, scale, running[c], beta[c], shortcut, y);
        }
    }

    // dy where y was positive is the gradient behind the ReLU; turns z into dz. With `keep`, dy is masked in place.
    void backward(Plane<T>& z, Plane<T>& dy, const Plane<T>& y, const T* gamma, T* d_gamma, T* d_beta) const {
        const int length = z.length();
        const T count = T(length) * z.height;
        for (int c = 0; c < z.channels; ++c) {
            const T middle = mean[c];
            T sum, moment;
            mask_and_sum(z, y, dy, c, middle, sum, moment);
            d_beta[c] = sum, d_gamma[c] = moment * inverse[c];
            const T scale = gamma[c] * inverse[c], shift = sum / count, slope = moment * inverse[c] * inverse[c] / count;
            for (int r = 0; r < z.height; ++r) {
                T* to = z.at(c, r);
                const T* d = dy.at(c, r);
                for (int i = 0; i < length; ++i) to[i] = scale * (d[i] - shift - (to[i] - middle) * slope);
            }
        }
    }

  private:
    static void affine(const Plane<T>& z, int c, T scale, T middle, T beta, const Plane<T>* shortcut, Plane<T>& y) {
        constexpr int lanes = Vector<T>::lanes;
        const int length = z.length();
        const Vec<T> zero = {}, kept = first_lanes<T>((length - 1) % lanes + 1);
        for (int r = 0; r < z.height; ++r) {
            const T* from = z.at(c, r);
            const T* other = shortcut && c < shortcut->channels ? shortcut->at(c, r) : nullptr;
            T* to = y.at(c, r);
            for (int i = 0; i < length; i += lanes) {
                Vec<T> value = (load(from + i) - middle) * scale + beta;
                if (other) value += load(other + i);
                value = value <= zero ? zero : value;  // what is no number stays none
                store(to + i, i + lanes > length ? Vec<T>(value * kept) : value);
            }
        }
    }

    // Over channel c, of z - middle or its square.
    template <bool squared> static T sum_of(const Plane<T>& z, int c, T middle) {
        constexpr int lanes = Vector<T>::lanes;
        const int length = z.length();
        const Vec<T> ones = first_lanes<T>(lanes), kept = first_lanes<T>(length % lanes);
        Vec<T> sums[2] = {};
        for (int r = 0; r < z.height; ++r) {
            const T* from = z.at(c, r);
            int i = 0;
            for (; i + 2 * lanes <= length; i += 2 * lanes)
                for (int v = 0; v < 2; ++v) {
                    const Vec<T> d = load(from + i + v * lanes) - middle;
                    sums[v] += squared ? Vec<T>(d * d) : d;
                }
            for (; i < length; i += lanes) {
                const Vec<T> d = (load(from + i) - middle) * (i + lanes > length ? kept : ones);
                sums[0] += squared ? Vec<T>(d * d) : d;
            }
        }
        return total<T>(sums[0] + sums[1]);
    }

    // Behind a row y is zero, and dy becomes zero.
    static void mask_and_sum(const Plane<T>& z, const Plane<T>& y, Plane<T>& dy, int c, T middle, T& sum, T& moment) {
        constexpr int lanes = Vector<T>::lanes;
        const int length = z.length();
        Vec<T> sums = {}, moments = {};
        const Vec<T> zero = {};
        for (int r = 0; r < z.height; ++r) {
            const T *from = z.at(c, r), *shown = y.at(c, r);
            T* to = dy.at(c, r);
            for (int i = 0; i < length; i += lanes) {
                const Vec<T> d = load(shown + i) > zero ? load(to + i) : zero;
                store(to + i, d);
                sums += d, moments += d * (load(from + i) - middle);
            }
        }
        sum = total<T>(sums), moment = total<T>(moments);
    }
};

// --- shortcuts that halve the image --------------------------------------------------------------------------------

// How many of the 2 x 2 pixels exist at an edge of odd length.
inline int pixels_there(int at, int side) { return 2 * at + 1 < side ? 2 : 1; }

template <class T> void average(const Plane<T>& x, Plane<T>& small) {
    const int n = x.images;
    for (int c = 0; c < x.channels; ++c)
        for (int y = 0; y < small.height; ++y)
            for (int u = 0; u < small.width; ++u) {
                const int high = pixels_there(y, x.height), wide = pixels_there(u, x.width);
                const T share = T(1) / (high * wide);
                T* __restrict to = small.at(c, y) + u * n;
                if (high == 2 && wide == 2) {
                    const T *above = x.at(c, 2 * y) + 2 * u * n, *below = x.at(c, 2 * y + 1) + 2 * u * n;
                    for (int i = 0; i < n; ++i) to[i] = (above[i] + above[n + i] + below[i] + below[n + i]) * share;
                    continue;
                }
                for (int i = 0; i < n; ++i) {
                    T sum = 0;
                    for (int dy = 0; dy < high; ++dy)
                        for (int dx = 0; dx < wide; ++dx) sum += x.at(c, 2 * y + dy)[(2 * u + dx) * n + i];
                    to[i] = sum * share;
                }
            }
}

// dx from the gradients of even and odd columns and, spread over its pixels, that of the average.
template <class T> void join(const Plane<T>& d_parts, const Plane<T>& d_small, Plane<T>& dx) {
    const int n = dx.images;
    for (int c = 0; c < dx.channels; ++c)
        for (int y = 0; y < dx.height; ++y)
            for (int x = 0; x < dx.width; ++x) {
                const T share = T(1) / (pixels_there(y / 2, dx.height) * pixels_there(x / 2, dx.width));
                const T* part = d_parts.at(2 * c + (x & 1), y) + (x >> 1) * n;
                const T* mean = d_small.at(c, y / 2) + (x >> 1) * n;
                T* to = dx.at(c, y) + x * n;
                for (int i = 0; i < n; ++i) to[i] = part[i] + share * mean[i];
            }
}

}  // namespace
