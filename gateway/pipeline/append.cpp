// The place that a content is sealed for is read from the record itself, so that the two cannot differ.
// Tested by tests/gateway/pipeline/request_test.cpp.
#include "gateway/pipeline/append.h"

#include <algorithm>

#include "audit/journal.h"
#include "gateway/async/run_on.h"

namespace tollgate::pipeline {

using std::chrono::steady_clock;

async::Awaitable<absl::StatusOr<audit::Position>> Append(const Collaborators& with, audit::Entry entry, steady_clock::time_point until) {
  const auto patience = std::min(steady_clock::now() + with.options.append_timeout, until);
  auto append = [&](auto done) { with.journal->Append(std::move(entry), patience, std::move(done)); };
  co_return co_await async::Callback<absl::StatusOr<audit::Position>>(append);
}

async::Awaitable<absl::StatusOr<audit::Position>> SealAndAppend(const Collaborators& with, const audit::RequestKey& key, audit::Entry entry,
                                                                const tollgate::v1::SealedContent& content,
                                                                steady_clock::time_point until) {
  const audit::SealPlace place{entry.record.kind(), entry.record.attempt(), entry.record.segment()};
  const bool large = static_cast<std::int64_t>(content.ByteSizeLong()) >= with.options.seal_here_bytes;
  auto seal = [&key, &place, &content] { return audit::Seal(key, place, content); };
  audit::Sealed sealed = co_await async::RunOnIf(large, with.cpu, seal);
  entry.content = std::move(sealed);
  co_return co_await Append(with, std::move(entry), until);
}

}  // namespace tollgate::pipeline
