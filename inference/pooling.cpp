// The numbers are those of <architecture>.pooling_type in GGUF files. Tested by tests/inference/embed_test.cpp.
#include "inference/pooling.h"

#include <array>

#include <fmt/format.h>

namespace tollgate::inference {
namespace {

struct Named {
  Pooling pooling;
  std::string_view name;
};
constexpr std::array<Named, 6> kNames = {{{Pooling::kNone, "none"},
                                          {Pooling::kAsFile, "model"},
                                          {Pooling::kMean, "mean"},
                                          {Pooling::kCls, "cls"},
                                          {Pooling::kLast, "last"},
                                          {Pooling::kRank, "rank"}}};
constexpr std::array<Pooling, 5> kInFiles = {Pooling::kNone, Pooling::kMean, Pooling::kCls, Pooling::kLast, Pooling::kRank};

std::int64_t Number(const GgufHeader& header, std::string_view key, std::int64_t otherwise) {
  const auto found = header.numbers.find(fmt::format("{}.{}", header.architecture, key));
  return found == header.numbers.end() ? otherwise : found->second;
}

}  // namespace

std::string_view Name(Pooling pooling) {
  for (const Named& named : kNames) {
    if (named.pooling == pooling) return named.name;
  }
  return "none";
}

std::optional<Pooling> PoolingOf(std::string_view name) {
  if (name.empty()) return Pooling::kNone;
  for (const Named& named : kNames) {
    if (named.name == name) return named.pooling;
  }
  return std::nullopt;
}

bool IsEncoder(const GgufHeader& header) { return Number(header, "attention.causal", 1) == 0; }

absl::StatusOr<Pooling> ResolvePooling(Pooling wanted, const GgufHeader& header) {
  if (wanted == Pooling::kNone && IsEncoder(header)) {
    return base::FailedPrecondition(
        fmt::format("the file holds an encoder ({}), which cannot chat: set pooling to model, so that it embeds", header.architecture));
  }
  Pooling pooling = wanted;
  if (wanted == Pooling::kAsFile) {
    const auto number = static_cast<std::size_t>(Number(header, "pooling_type", 0));
    pooling = number < kInFiles.size() ? kInFiles[number] : Pooling::kNone;
    if (pooling == Pooling::kNone)
      return base::FailedPrecondition("the file does not say how it pools: set pooling to mean, cls or last, as its makers do");
  }
  if (pooling == Pooling::kRank && !header.classifier) {
    return base::FailedPrecondition(
        "the file has no classifier (a tensor cls.output.weight), so that it cannot rank documents: use a reranker's file, or set pooling "
        "to "
        "mean, cls or last for vectors");
  }
  return pooling;
}

}  // namespace tollgate::inference
