// What goes into the audit log: an Entry, and where it came to stand: a Position.
// Bytes on disk: audit/FORMAT.md. Value types; one thread at a time.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/companion.h"
#include "base/uuid.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::audit {

// A record's place: the log (one for each instance) and the dense index in it, from 0.
struct Position {
  std::int32_t log_id = 0;
  std::int64_t index = 0;
  auto operator<=>(const Position&) const = default;
  std::string ToString() const { return std::to_string(log_id) + "/" + std::to_string(index); }  // "3/1507"
};

// Content as it is stored, and for a record that opens a request the commitment to its key. Made by Seal (audit/seal.h).
struct Sealed {
  std::string stored;
  std::string key_commitment;
};

// A tenant-day key as the keys database holds it: a request's key is stored beside this very row, or not at all. One for all requests under
// it; thread-safe.
struct StoredDay {
  StoredDay(std::int32_t number, std::string wrapped) : number(number), wrapped(std::move(wrapped)) {}

  const std::int32_t number;  // Its row.
  const std::string wrapped;  // Opens nothing without the tenant key.
  // Both are for who stores requests' keys: the session that last found this row, and that one found it no more: then no further key is
  // made under it.
  mutable std::atomic<std::uint64_t> seen_by{0};
  mutable std::atomic<bool> gone{false};
};

// What a request's data key is derived from, beside its tenant-day key: for the keys database. Useless without the root key, as the root
// key is without it. RequestKey::row() makes it.
struct KeyRow {
  base::RequestId request;
  std::int32_t tenant_day = 0;           // The day key's number.
  std::string salt;                      // 32 random bytes.
  std::string subject;                   // The end user's HMAC, by which erasure finds the key. Empty: the journal copies the record's.
  std::shared_ptr<const StoredDay> day;  // Null: it cannot be stored.
};

// One record to append.
struct Entry {
  v1::Record record;  // The journal sets `version` and `key_commitment`, and `wall_us` where it is 0.
  std::optional<Sealed> content;
  std::optional<KeyRow> key;                // With the first record of a request that has content: REQUEST, or a DENY without one.
  std::vector<base::Companion> companions;  // Rows of the same transaction.
};

// FINAL, ABORT: the last record of a request that is on record.
constexpr bool EndsRequest(v1::RecordKind kind) { return kind == v1::RECORD_KIND_FINAL || kind == v1::RECORD_KIND_ABORT; }

// And DENY: the last record of a request.
constexpr bool IsTerminal(v1::RecordKind kind) { return EndsRequest(kind) || kind == v1::RECORD_KIND_DENY; }

}  // namespace tollgate::audit
