// Training of one small residual network (training/models.py, SmallResNet) in the processor's own cache.
//
// The same arithmetic as the torch network, layer by layer: 3x3 convolutions, batch normalisation, shortcuts that average
// and fill with zeros, a mean, one linear layer, SGD. tests/training/test_ways.py holds both equal in float64.
//
// Layout. An activation is [channel][row][border | column 0 of all images | column 1 of all images | ... | border]: the
// images of a batch lie side by side, so that a row of all of them is one long vector, a shift by a pixel is a shift by
// `images` numbers, and the zero border is the convolution's padding. Stride 2 reads even and odd columns from two planes,
// which makes every convolution, forward and backward, a sum of shifted rows times single weights.

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
            if (left >= lanes) {
                store(to + v * lanes, add ? Vec<T>(load(to + v * lanes) + sums[k][v]) : sums[k][v]);
            } else {  // the border behind the row stays zero
                for (int lane = 0; lane < left; ++lane)
                    to[v * lanes + lane] = sums[k][v][lane] + (add ? to[v * lanes + lane] : T(0));
            }
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
    packed.assign(size_t((outer + kBlock - 1) / kBlock) * kBlock * inner * kTaps, T(0));
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
        turned.assign(size_t(dz.height) * length * padded, T(0));
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
        const int channels = z.channels, length = z.length();
        const T count = T(length) * z.height;
        mean.resize(channels), inverse.resize(channels);
        for (int c = 0; c < channels; ++c) {
            T sum = 0, square = 0;
            for (int r = 0; r < z.height; ++r) sum += sum_of(z.at(c, r), length, T(0), false);
            mean[c] = sum / count;
            for (int r = 0; r < z.height; ++r) square += sum_of(z.at(c, r), length, mean[c], true);
            const T variance = square / count;
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
            T sum = 0, moment = 0;
            for (int r = 0; r < z.height; ++r) mask_and_sum(z.at(c, r), y.at(c, r), dy.at(c, r), length, middle, sum, moment);
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
        const int length = z.length();
        for (int r = 0; r < z.height; ++r) {
            const T* from = z.at(c, r);
            T* to = y.at(c, r);
            if (shortcut && c < shortcut->channels) {
                const T* other = shortcut->at(c, r);
                for (int i = 0; i < length; ++i) {
                    const T value = (from[i] - middle) * scale + beta + other[i];
                    to[i] = value > 0 || value != value ? value : T(0);
                }
            } else {
                for (int i = 0; i < length; ++i) {
                    const T value = (from[i] - middle) * scale + beta;
                    to[i] = value > 0 || value != value ? value : T(0);
                }
            }
        }
    }

    static T sum_of(const T* from, int length, T middle, bool squared) {
        constexpr int lanes = Vector<T>::lanes;
        Vec<T> sums[2] = {};
        int i = 0;
        for (; i + 2 * lanes <= length; i += 2 * lanes)
            for (int v = 0; v < 2; ++v) {
                const Vec<T> d = load(from + i + v * lanes) - middle;
                sums[v] += squared ? d * d : d;
            }
        T sum = total<T>(sums[0] + sums[1]);
        for (; i < length; ++i) sum += squared ? (from[i] - middle) * (from[i] - middle) : from[i] - middle;
        return sum;
    }

    static void mask_and_sum(const T* z, const T* y, T* dy, int length, T middle, T& sum, T& moment) {
        constexpr int lanes = Vector<T>::lanes;
        Vec<T> sums = {}, moments = {};
        const Vec<T> zero = {};
        int i = 0;
        for (; i + lanes <= length; i += lanes) {
            const Vec<T> d = load(y + i) > zero ? load(dy + i) : zero;
            store(dy + i, d);
            sums += d, moments += d * (load(z + i) - middle);
        }
        sum += total<T>(sums), moment += total<T>(moments);
        for (; i < length; ++i) {
            dy[i] = y[i] > 0 ? dy[i] : T(0);
            sum += dy[i], moment += dy[i] * (z[i] - middle);
        }
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
                T* to = small.at(c, y) + u * n;
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

// --- the network -----------------------------------------------------------------------------------------------------

struct Shape {  // as Python passes it, in this order
    int64_t channels, height, width, first_width, blocks, classes;
};

template <class T> struct Layer {  // convolution and normalisation; where their numbers lie among all
    Convolution<T> conv;
    Norm<T> norm;
    Plane<T> z, y;
    size_t weights, gamma, beta, running;

    Layer(int in, int out, int stride, int height, int width, int images)
        : conv(in, out, stride, height, width, images),
          z(out, (height + stride - 1) / stride, (width + stride - 1) / stride, images), y(z) {}
};

template <class T> class Network {
  public:
    Network(const Shape& shape, int images) : shape(shape), images(images) {
        int channels = int(shape.channels), height = int(shape.height), width = int(shape.width);
        input = Plane<T>(channels, height, width, images);
        add(channels, int(shape.first_width), 1, height, width);
        for (int stage = 0; stage < kStages; ++stage)
            for (int block = 0; block < shape.blocks; ++block) {
                const int wide = int(shape.first_width) << stage, stride = stage && !block ? 2 : 1;
                const int before = int(layers.back()->z.channels);
                add(before, wide, stride, height, width);
                height = layers.back()->z.height, width = layers.back()->z.width;
                add(wide, wide, 1, height, width);
                shortcuts.emplace_back(stride == 2 ? Plane<T>(before, height, width, images) : Plane<T>());
            }
        features = layers.back()->z.channels;
        head = n_parameters;
        n_parameters += size_t(features) * shape.classes + shape.classes;
        means.resize(size_t(features) * images), logits.resize(size_t(shape.classes) * images), d_logits = logits;
    }

    // running == nullptr: batch statistics, which `remembered` keeps track of.
    void forward(const T* parameters, const T* running, T* remembered) {
        apply(0, input, nullptr, parameters, running, remembered);
        for (size_t block = 0; block < shortcuts.size(); ++block) {
            Plane<T>& x = layers[2 * block]->y;
            Layer<T>& first = *layers[2 * block + 1];
            apply(2 * block + 1, x, nullptr, parameters, running, remembered);
            const Plane<T>* shortcut = &x;
            if (first.conv.stride == 2) average(x, shortcuts[block]), shortcut = &shortcuts[block];
            apply(2 * block + 2, first.y, shortcut, parameters, running, remembered);
        }
        const Plane<T>& last = layers.back()->y;
        const T share = T(1) / (last.height * last.width);
        for (int c = 0; c < features; ++c)
            for (int i = 0; i < images; ++i) {
                T sum = 0;
                for (int y = 0; y < last.height; ++y)
                    for (int x = 0; x < last.width; ++x) sum += last.at(c, y)[x * images + i];
                means[size_t(c) * images + i] = sum * share;
            }
        const T *weights = parameters + head, *bias = weights + size_t(features) * shape.classes;
        for (int k = 0; k < shape.classes; ++k)
            for (int i = 0; i < images; ++i) {
                T sum = bias[k];
                for (int c = 0; c < features; ++c) sum += weights[size_t(k) * features + c] * means[size_t(c) * images + i];
                logits[size_t(k) * images + i] = sum;
            }
    }

    // Mean cross-entropy with label smoothing of what `forward` left, and its gradient with respect to the logits.
    T loss(const int64_t* labels, T smoothing) {
        const int classes = int(shape.classes);
        T all = 0;
        for (int i = 0; i < images; ++i) {
            T largest = logits[i], sum = 0, mean = 0;
            for (int k = 1; k < classes; ++k) largest = std::max(largest, logits[size_t(k) * images + i]);
            for (int k = 0; k < classes; ++k) sum += std::exp(logits[size_t(k) * images + i] - largest);
            const T log_sum = std::log(sum) + largest;
            for (int k = 0; k < classes; ++k) {
                const T log_p = logits[size_t(k) * images + i] - log_sum;
                const T wanted = (k == labels[i] ? 1 - smoothing : T(0)) + smoothing / classes;
                mean -= wanted * log_p;
                d_logits[size_t(k) * images + i] = (std::exp(log_p) - wanted) / images;
            }
            all += mean;
        }
        return all / images;
    }

    void backward(const T* parameters, T* gradients) {
        const T* weights = parameters + head;
        T *d_weights = gradients + head, *d_bias = d_weights + size_t(features) * shape.classes;
        const Plane<T>& last = layers.back()->y;
        Plane<T>* gradient = &scratch(last, 0);
        for (int k = 0; k < shape.classes; ++k) {
            const T* d = d_logits.data() + size_t(k) * images;
            T sum = 0;
            for (int i = 0; i < images; ++i) sum += d[i];
            d_bias[k] = sum;
            for (int c = 0; c < features; ++c) {
                T product = 0;
                for (int i = 0; i < images; ++i) product += d[i] * means[size_t(c) * images + i];
                d_weights[size_t(k) * features + c] = product;
            }
        }
        for (int c = 0; c < features; ++c)
            for (int i = 0; i < images; ++i) {
                T sum = 0;
                for (int k = 0; k < shape.classes; ++k) sum += weights[size_t(k) * features + c] * d_logits[size_t(k) * images + i];
                sum /= last.height * last.width;
                for (int y = 0; y < last.height; ++y)
                    for (int x = 0; x < last.width; ++x) gradient->at(c, y)[x * images + i] = sum;
            }
        for (size_t block = shortcuts.size(); block-- > 0;) {
            Layer<T>&first = *layers[2 * block + 1], &second = *layers[2 * block + 2];
            const Plane<T>& x = layers[2 * block]->y;
            normalise_back(second, *gradient, parameters, gradients);  // masks it: it enters the shortcut too
            second.conv.backward_weights(first.y, second.z, gradients + second.weights);
            Plane<T>& inner = scratch(first.y, 1);
            second.conv.backward_input(second.z, parameters + second.weights, inner, false);
            normalise_back(first, inner, parameters, gradients);
            first.conv.backward_weights(x, first.z, gradients + first.weights);
            if (first.conv.stride == 1) {
                first.conv.backward_input(first.z, parameters + first.weights, *gradient, true);
            } else {
                Plane<T>& parts = scratch(first.conv.parts, 1);
                first.conv.backward_parts(first.z, parameters + first.weights, parts);
                Plane<T>& larger = scratch(x, 0);
                join(parts, *gradient, larger);
                gradient = &larger;
            }
        }
        Layer<T>& stem = *layers[0];
        normalise_back(stem, *gradient, parameters, gradients);
        stem.conv.backward_weights(input, stem.z, gradients + stem.weights);
    }

    Shape shape;
    int images, features = 0;
    T share = T(kMomentum);  // of a batch's statistics in the running ones
    size_t n_parameters = 0, n_running = 0, head = 0;
    Plane<T> input;
    std::vector<T> logits;  // [class][image]

  private:
    void add(int in, int out, int stride, int height, int width) {
        layers.emplace_back(new Layer<T>(in, out, stride, height, width, images));
        Layer<T>& layer = *layers.back();
        layer.weights = n_parameters, layer.gamma = layer.weights + layer.conv.n_weights();
        layer.beta = layer.gamma + out, n_parameters = layer.beta + out;
        layer.running = n_running, n_running += 2 * size_t(out);
    }

    void apply(size_t which, const Plane<T>& x, const Plane<T>* shortcut, const T* parameters, const T* running,
               T* remembered) {
        Layer<T>& layer = *layers[which];
        layer.conv.forward(x, parameters + layer.weights, layer.z);
        const T *gamma = parameters + layer.gamma, *beta = parameters + layer.beta;
        if (running)
            Norm<T>::evaluate(layer.z, gamma, beta, running + layer.running, shortcut, layer.y);
        else
            layer.norm.forward(layer.z, gamma, beta, remembered + layer.running, share, shortcut, layer.y);
    }

    void normalise_back(Layer<T>& layer, Plane<T>& dy, const T* parameters, T* gradients) {
        layer.norm.backward(layer.z, dy, layer.y, parameters + layer.gamma, gradients + layer.gamma, gradients + layer.beta);
    }

    // A plane of that shape whose border is zero and whose content is anything; `which` tells two apart.
    Plane<T>& scratch(const Plane<T>& like, int which) {
        for (auto& found : kept[which])
            if (found->channels == like.channels && found->height == like.height && found->width == like.width)
                return *found;
        kept[which].emplace_back(new Plane<T>(like.channels, like.height, like.width, images));
        return *kept[which].back();
    }

    std::vector<std::unique_ptr<Layer<T>>> layers;
    std::vector<Plane<T>> shortcuts;
    std::vector<std::unique_ptr<Plane<T>>> kept[2];
    std::vector<T> means, d_logits;
};

// --- what Python calls -------------------------------------------------------------------------------------------------

struct Pixels {  // uint8 images: where one begins is given image by image
    const uint8_t* first;
    int64_t channel, row, column;  // strides
};

// Standardised pixels of `count` images into a network's input; images beyond them stay what they are.
template <class T>
void show(const Pixels& pixels, const int64_t* offsets, int count, const T* mean, const T* scale, Plane<T>& input) {
    for (int c = 0; c < input.channels; ++c) {
        T table[256];
        for (int level = 0; level < 256; ++level) table[level] = (T(level) - mean[c]) * scale[c];
        for (int y = 0; y < input.height; ++y) {
            T* to = input.at(c, y);
            const uint8_t* from = pixels.first + c * pixels.channel + y * pixels.row;
            for (int x = 0; x < input.width; ++x)
                for (int i = 0; i < count; ++i) to[x * input.images + i] = table[from[offsets[i] + x * pixels.column]];
        }
    }
}

// Blank a square of cut[0] x cut[1] pixels of every image; corners: (count, 2).
template <class T> void blank(const int64_t* corners, const int64_t* cut, int count, Plane<T>& input) {
    for (int i = 0; i < count; ++i)
        for (int c = 0; c < input.channels; ++c)
            for (int64_t y = corners[2 * i]; y < corners[2 * i] + cut[0]; ++y)
                for (int64_t x = corners[2 * i + 1]; x < corners[2 * i + 1] + cut[1]; ++x)
                    input.at(c, int(y))[x * input.images + i] = T(0);
}

struct Optimiser {  // as Python passes it, in this order
    double momentum, weight_decay, smoothing, nesterov;
    // Weights are averaged from this step on (-1: never), and statistics then taken from so many of the last batches.
    double average_from, renewed;
};

template <class T>
int train(const Shape* shape, const Optimiser* how, int64_t batch, int64_t n_steps, const uint8_t* first,
          const int64_t* strides, const int64_t* offsets, const int64_t* corners, const int64_t* cut, const int64_t* labels,
          const double* rates, const T* mean, const T* scale, T* parameters, T* running) {
    Network<T> network(*shape, int(batch));
    const Pixels pixels{first, strides[0], strides[1], strides[2]};
    const size_t n = network.n_parameters;
    std::vector<T> gradients(n), momentum(n, T(0));
    const T decay = T(how->weight_decay), keep = T(how->momentum);
    const int64_t average_from = int64_t(how->average_from), renewed = int64_t(how->renewed);
    std::vector<T> sum(average_from < 0 ? 0 : n, T(0));
    const auto see = [&](int64_t step) {
        show(pixels, offsets + step * batch, int(batch), mean, scale, network.input);
        if (corners) blank(corners + 2 * step * batch, cut, int(batch), network.input);
        network.forward(parameters, nullptr, running);
    };
    for (int64_t step = 0; step < n_steps; ++step) {
        see(step);
        if (!std::isfinite(network.loss(labels + step * batch, T(how->smoothing)))) return 1;
        network.backward(parameters, gradients.data());
        const T rate = T(rates[step]);
        for (size_t i = 0; i < n; ++i) {
            const T gradient = gradients[i] + decay * parameters[i];
            momentum[i] = keep * momentum[i] + gradient;
            parameters[i] -= rate * (how->nesterov != 0 ? gradient + keep * momentum[i] : momentum[i]);
        }
        if (average_from >= 0 && step >= average_from)
            for (size_t i = 0; i < n; ++i) sum[i] += parameters[i];
    }
    if (average_from >= 0) {
        for (size_t i = 0; i < n; ++i) parameters[i] = sum[i] / T(n_steps - average_from);
        for (int64_t b = 0; b < renewed; ++b) {
            network.share = T(1) / T(b + 1);
            see(n_steps - renewed + b);
        }
    }
    return 0;
}

template <class T>
void evaluate(const Shape* shape, int64_t at_once, int64_t n_images, const uint8_t* first, const int64_t* strides,
              const int64_t* offsets, const T* mean, const T* scale, const T* parameters, const T* running, T* logits) {
    Network<T> network(*shape, int(at_once));
    const Pixels pixels{first, strides[0], strides[1], strides[2]};
    const int classes = int(shape->classes);
    for (int64_t start = 0; start < n_images; start += at_once) {
        const int count = int(std::min(at_once, n_images - start));
        show(pixels, offsets + start, count, mean, scale, network.input);
        network.forward(parameters, running, nullptr);
        for (int i = 0; i < count; ++i)
            for (int k = 0; k < classes; ++k)
                logits[(start + i) * classes + k] = network.logits[size_t(k) * at_once + i];
    }
}

}  // namespace

#ifndef COTERIE_TYPE
#define COTERIE_TYPE float
#endif
using Number = COTERIE_TYPE;

extern "C" int coterie_train(const Shape* shape, const Optimiser* how, int64_t batch, int64_t n_steps, const uint8_t* first,
                             const int64_t* strides, const int64_t* offsets, const int64_t* corners, const int64_t* cut,
                             const int64_t* labels, const double* rates, const Number* mean, const Number* scale,
                             Number* parameters, Number* running) {
    try {
        return train<Number>(shape, how, batch, n_steps, first, strides, offsets, corners, cut, labels, rates, mean, scale,
                             parameters, running);
    } catch (const std::bad_alloc&) {
        return -1;
    }
}

extern "C" int coterie_evaluate(const Shape* shape, int64_t at_once, int64_t n_images, const uint8_t* first,
                                const int64_t* strides, const int64_t* offsets, const Number* mean, const Number* scale,
                                const Number* parameters, const Number* running, Number* logits) {
    try {
        evaluate<Number>(shape, at_once, n_images, first, strides, offsets, mean, scale, parameters, running, logits);
        return 0;
    } catch (const std::bad_alloc&) {
        return -1;
    }
}

// Numbers a model has: parameters (which == 0) or running statistics.
extern "C" int64_t coterie_size(const Shape* shape, int64_t which) {
    const Network<Number> network(*shape, 1);
    return int64_t(which ? network.n_running : network.n_parameters);
}
