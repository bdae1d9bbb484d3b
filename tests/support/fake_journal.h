// A Journal in memory, for tests of whoever appends. It holds the same rules as the real one (one terminal record a request, no SEGMENT
// after it) and can be told to be slow or to refuse. Keys for it: memory_keys.h.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "audit/journal.h"
#include "base/mutex.h"

namespace tollgate::test {

// Thread-safe. Answers at once, on the appending thread, unless Hold() was called.
class FakeJournal final : public audit::Journal {
 public:
  void Append(audit::Entry entry, std::chrono::steady_clock::time_point, Done done) override {
    if (entry.record.wall_us() == 0) entry.record.set_wall_us(1'790'000'000'000'000 + static_cast<std::int64_t>(size()));
    entry.record.set_version(1);
    if (entry.content) entry.record.set_key_commitment(entry.content->key_commitment);
    {
      base::Lock lock(mu_);
      if (held_) {
        waiting_.push_back({std::move(entry), std::move(done)});
        return;
      }
    }
    Write(std::move(entry), std::move(done));
  }

  audit::Health health() const override {
    base::Lock lock(mu_);
    return health_;
  }

  // From now on entries wait; Release writes the oldest `count` of them (all by default) and answers them.
  void Hold() {
    base::Lock lock(mu_);
    held_ = true;
  }
  void Release(std::size_t count = SIZE_MAX) {
    for (; count > 0; --count) {
      std::optional<Waiting> next;
      {
        base::Lock lock(mu_);
        if (waiting_.empty()) {
          held_ = false;
          return;
        }
        next.emplace(std::move(waiting_.front()));
        waiting_.pop_front();
      }
      Write(std::move(next->entry), std::move(next->done));
    }
  }
  std::size_t waiting() const {
    base::Lock lock(mu_);
    return waiting_.size();
  }

  // What to refuse and how: called for each entry; an error is the answer and nothing is written. Empty = nothing.
  void SetFault(std::function<absl::Status(const audit::Entry&)> fault) {
    base::Lock lock(mu_);
    fault_ = std::move(fault);
  }

  std::vector<audit::Entry> entries() const {
    base::Lock lock(mu_);
    return entries_;
  }
  std::size_t size() const {
    base::Lock lock(mu_);
    return entries_.size();
  }
  std::size_t open_requests() const {
    base::Lock lock(mu_);
    return open_.size();
  }
  std::vector<audit::Entry> Of(tollgate::v1::RecordKind kind) const {
    std::vector<audit::Entry> out;
    for (auto& entry : entries()) {
      if (entry.record.kind() == kind) out.push_back(std::move(entry));
    }
    return out;
  }

 private:
  struct Waiting {
    audit::Entry entry;
    Done done;
  };

  absl::StatusOr<audit::Position> Store(audit::Entry&& entry) {
    base::Lock lock(mu_);
    if (fault_) {
      if (absl::Status status = fault_(entry); !status.ok()) return status;
    }
    const auto kind = entry.record.kind();
    const std::string& request = entry.record.request_id();
    if (kind == v1::RECORD_KIND_REQUEST && !seen_.insert(request).second) return base::AlreadyExists("this request is on record already");
    const bool needs_open = kind == v1::RECORD_KIND_SEGMENT || kind == v1::RECORD_KIND_FINAL || kind == v1::RECORD_KIND_ABORT;
    if (needs_open && !open_.contains(request))
      return base::FailedPrecondition("this request has its terminal record already, or never began");
    if (kind == v1::RECORD_KIND_REQUEST) open_.insert(request);
    if (audit::IsTerminal(kind)) open_.erase(request);
    entries_.push_back(std::move(entry));
    return audit::Position{1, static_cast<std::int64_t>(entries_.size()) - 1};
  }
  void Write(audit::Entry&& entry, Done done) {
    auto result = Store(std::move(entry));
    done(std::move(result));
  }

  mutable base::Mutex mu_;
  std::vector<audit::Entry> entries_ GUARDED_BY(mu_);
  std::set<std::string> open_ GUARDED_BY(mu_);
  std::set<std::string> seen_ GUARDED_BY(mu_);
  std::deque<Waiting> waiting_ GUARDED_BY(mu_);
  std::function<absl::Status(const audit::Entry&)> fault_ GUARDED_BY(mu_);
  audit::Health health_ GUARDED_BY(mu_);
  bool held_ GUARDED_BY(mu_) = false;
};

}  // namespace tollgate::test
