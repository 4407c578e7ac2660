// Stand-in: the "FlatBuffer" is a struct that the test fills in.
#pragma once
#include <cstddef>
#include <cstdint>
#define TFLITE_SCHEMA_VERSION (3)
namespace tflite {
struct Subgraphs {
    size_t n;
    size_t size() const {
        return n;
    }
};
struct Model {
    uint32_t schema_version;
    Subgraphs graphs;
    uint32_t version() const {
        return schema_version;
    }
    const Subgraphs *subgraphs() const {
        return &graphs;
    }
};
inline const Model *GetModel(const void *data) {
    return static_cast<const Model *>(data);
}
} // namespace tflite
