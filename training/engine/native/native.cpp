// Training of one small residual network (training/engine/models.py, SmallResNet) in the processor's own cache.
//
// The same arithmetic as the torch network, layer by layer: 3x3 convolutions, batch normalisation, shortcuts that average
// and fill with zeros, a mean, one linear layer, SGD. tests/training/engine/test_ways.py holds both equal in float64.
//
// The layers, and how activations lie in memory, are in layers.h.

#include "layers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace {

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
