// Shadow: policies that judge a request beside those in force, and do not act. What they say goes on record and nowhere else.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string_view>

#include "gateway/directory/snapshot.h"
#include "policy/policy_set.h"
#include "policy/stream_filter.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

// How often shadows agreed with what acted, since the start. Any thread.
class ShadowCounts {
 public:
  // Judgements whose strictest action was the same, a stricter one, a milder one.
  struct Counts {
    std::int64_t same = 0, stricter = 0, milder = 0;
  };
  // `acted`: what acted, but for rules that asked others. Counts nothing for a shadow that judged nothing.
  void Add(bool output, const tollgate::v1::Verdict& acted, const tollgate::v1::ShadowVerdict& shadow);
  Counts Of(bool output) const;

 private:
  std::array<std::array<std::atomic<std::int64_t>, 3>, 2> counts_{};  // By direction, then as in Counts.
};

// Of a prompt; an empty message if `shadow` is null or cannot judge it.
tollgate::v1::ShadowVerdict ShadowOf(const policy::PolicySet* shadow, const policy::Subject& subject,
                                     std::span<const policy::Message> prompt, const policy::KeepGoing& keep_going = nullptr);

// The filter of the acting policies; with a shadow, one that shows the raw text to that too and is else the same. The shadow sees what is
// decoded: after a block by the acting policies, nothing more. Each asks its own whether it may go on.
std::unique_ptr<policy::StreamFilter> OpenOutput(const directory::Judges& judges, const policy::Subject& subject,
                                                 const policy::Channel& channel, policy::KeepGoing keep_going = nullptr,
                                                 policy::KeepGoing shadow_keeps_going = nullptr);

// Of the output so far, up to the raw byte `before`, from a filter that OpenOutput gave for judges with this shadow.
tollgate::v1::ShadowVerdict ShadowOf(const policy::PolicySet& shadow, const policy::StreamFilter& filter,
                                     std::int64_t before = std::numeric_limits<std::int64_t>::max());

}  // namespace tollgate::pipeline
