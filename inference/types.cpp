// How it works. A name for each value, for records, tables and messages.
//
// Tested by tests/inference/pool_test.cpp, tests/inference/strict_test.cpp.
#include "inference/types.h"

namespace tollgate::inference {

std::string_view Name(KvType kv) {
  switch (kv) {
    case KvType::kF16: return "f16";
    case KvType::kQ8: return "q8";
    case KvType::kF32: return "f32";
  }
  return "unknown";
}

std::string_view Name(EndReason reason) {
  switch (reason) {
    case EndReason::kStop: return "stop";
    case EndReason::kLength: return "length";
    case EndReason::kAllowance: return "allowance";
    case EndReason::kCancelled: return "cancelled";
    case EndReason::kDeadline: return "deadline";
    case EndReason::kQueueTimeout: return "queue_timeout";
    case EndReason::kEngineFailed: return "engine_failed";
    case EndReason::kShutdown: return "shutdown";
  }
  return "unknown";
}

}  // namespace tollgate::inference
