// What is seen now takes the place of what was seen before, so that each loss is told once. Under another epoch somebody may have written
// since the rollback, behind fewer records than are there now: then more may be missing than is seen.
// Tested by tests/audit/head_watch_test.cpp and tests/audit/losses_test.cpp.
#include "audit/head_watch.h"

#include <fmt/format.h>

namespace tollgate::audit {

std::vector<std::string> HeadWatch::Look(std::span<const HeadSeen> heads) {
  std::map<std::int32_t, HeadSeen> now;
  for (const HeadSeen& head : heads) now[head.log_id] = head;
  std::vector<std::string> missing;
  for (const auto& [log, before] : seen_) {
    const auto found = now.find(log);
    const HeadSeen after = found == now.end() ? HeadSeen{log, before.epoch, 0} : found->second;
    if (after.next_index >= before.next_index) continue;
    missing.push_back(fmt::format("log {}: records {} to {}{}, which were on record here, are lost", log, after.next_index,
                                  before.next_index - 1, after.epoch == before.epoch ? "" : " at least"));
  }
  seen_ = std::move(now);
  return missing;
}

}  // namespace tollgate::audit
