// Answerers: those whom policy has the gateway ask: detectors that are not policy's own. The pipeline asks, whoever implements this
// answers.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "policy/policy_set.h"

namespace tollgate::pipeline {

// One question with what it is about.
struct QuestionAsk {
  policy::Question question;
  bool output = false;
  bool last = true;  // Of a reply: it is whole.
  // The prompt as it will be used, those that the question names (questions about the same ones share them); or the reply so far, as
  // filtered.
  std::shared_ptr<const std::vector<policy::Message>> messages = nullptr;
  std::string model;
  std::string tenant;                              // Whose request it is: no tenant's questions wait behind all of another's.
  std::chrono::steady_clock::time_point deadline;  // The request's own.
};

struct QuestionAnswer {
  policy::Answer answer;  // With the question's id; spans' messages count within QuestionAsk::messages.
  std::string category;   // As the detector names it.
  // Of a guard model: what the answer took, and what it said, cut for the record.
  std::int64_t input_tokens = 0, output_tokens = 0;
  std::string said{};
};

// Thread-safe.
class Answerers {
 public:
  virtual ~Answerers() = default;
  // `done` is called exactly once, on any thread, perhaps before this returns, and not long after the ask's deadline or the detector's own:
  // hand over, never block. Who cannot be asked, does not answer in time or answers what nobody can read is Answer::failure, in words for
  // people, without content.
  virtual void Ask(QuestionAsk ask, std::function<void(QuestionAnswer)> done) = 0;
};

// Answers that come from any thread, for one coroutine that is woken by `notify`. Asks that are still out keep it alive.
class QuestionInbox : public std::enable_shared_from_this<QuestionInbox> {
 public:
  // `cpu`: where whole replies are judged that are not short.
  static std::shared_ptr<QuestionInbox> Make(Answerers& answerers, boost::asio::any_io_executor cpu, std::function<void()> notify);
  virtual ~QuestionInbox() = default;
  virtual void Ask(QuestionAsk ask) = 0;
  virtual std::vector<QuestionAnswer> Take() = 0;  // Those that came since.
};

}  // namespace tollgate::pipeline
