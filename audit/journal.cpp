// Waiting for an append, and the names of kinds.
// Tested by tests/audit/journal_queue_test.cpp.
#include "audit/journal.h"

#include <future>
#include <memory>

namespace tollgate::audit {

absl::StatusOr<Position> AppendAndWait(Journal& journal, Entry entry, std::chrono::steady_clock::time_point deadline) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<Position>>>();
  auto future = promise->get_future();
  journal.Append(std::move(entry), deadline, [promise](absl::StatusOr<Position> result) { promise->set_value(std::move(result)); });
  return future.get();
}

}  // namespace tollgate::audit
