// A call into an engine, whatever it throws. Internal to the room.
#pragma once

#include <exception>
#include <new>

#include <fmt/format.h>

#include "base/status.h"

namespace tollgate::inference {

// What `call` gives, or why it threw: UNAVAILABLE for memory, INTERNAL for the rest.
template <typename Call>
auto NoThrow(Call call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return base::Unavailable("the engine ran out of memory; lower slots, context_tokens or prefix_cache_bytes");
  } catch (const std::exception& e) {
    return base::Internal(fmt::format("the engine threw: {}", e.what()));
  } catch (...) {
    return base::Internal("the engine threw something that is no exception");
  }
}

}  // namespace tollgate::inference
