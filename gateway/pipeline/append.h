// Putting a record of a request on the log: its content is sealed, then it is appended with the patience that requests have.
#pragma once

#include <chrono>

#include "audit/record.h"
#include "audit/seal.h"
#include "base/status.h"
#include "gateway/async/await.h"
#include "gateway/pipeline/collaborators.h"

namespace tollgate::pipeline {

// The only attempt of a request: one that goes on with a fallback is another request.
inline constexpr std::uint32_t kFirstAttempt = 1;

// Seals `content` under `key` for the entry's kind, attempt and segment (large content on the CPU pool) and appends. The position is
// durable. Errors as audit::Journal::Append. `until`: when its caller stops waiting, if that is before the request's patience is over; for
// records that nothing has happened before.
async::Awaitable<absl::StatusOr<audit::Position>> SealAndAppend(
    const Collaborators& with, const audit::RequestKey& key, audit::Entry entry, const tollgate::v1::SealedContent& content,
    std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max());

// The same for a record without content.
async::Awaitable<absl::StatusOr<audit::Position>> Append(
    const Collaborators& with, audit::Entry entry,
    std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max());

}  // namespace tollgate::pipeline
