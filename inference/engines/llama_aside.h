// States of slots while they are out of the context. Internal to the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace tollgate::inference {

struct LlamaState {  // libllama's, of so many tokens.
  std::span<const std::uint8_t> bytes;
  std::int64_t tokens = 0;
};

// Of a slot that has no cells. Overwritten when it goes. No bytes: it was not kept.
struct LlamaAside {
  ~LlamaAside();
  LlamaState state() const { return {{reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, tokens}; }
  std::string bytes;
  std::int64_t tokens = 0;
};

struct LlamaAway {  // A slot whose state is taken out for the moment.
  int slot = 0;
  std::unique_ptr<LlamaAside> aside;
};

}  // namespace tollgate::inference
