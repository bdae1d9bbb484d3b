// An inbox belongs to whoever asks and to every question that is out, so that an answer which comes after its asker has gone falls into no
// hole. What a shape answers is answered at once.
//
// Tested by tests/gateway/pipeline/guards_test.cpp.
#include "gateway/pipeline/guards.h"

#include <utility>

#include "base/mutex.h"

namespace tollgate::pipeline {
namespace {

// What asks nobody: a reply so far breaks a shape if no JSON begins like that.
GuardAnswer ByShape(const GuardAsk& ask) {
  std::string text;
  for (const std::string& part : ask.messages->front().parts) text += part;
  GuardAnswer out;
  out.answer.id = ask.question.id;
  out.category = ask.last ? std::string(ask.question.shape->Breaks(text)) : policy::JsonShape::MayBecomeJson(text) ? "" : "json";
  out.answer.hit = !out.category.empty();
  return out;
}

class Inbox final : public GuardInbox {
 public:
  Inbox(Guards& guards, std::function<void()> notify) : guards_(guards), notify_(std::move(notify)) {}

  void Ask(GuardAsk ask) override {
    if (ask.question.shape != nullptr) return Put(ByShape(ask));
    guards_.Ask(std::move(ask), [self = shared_from_this()](GuardAnswer answer) { static_cast<Inbox&>(*self).Put(std::move(answer)); });
  }

  std::vector<GuardAnswer> Take() override {
    base::Lock lock(mu_);
    return std::exchange(answers_, {});
  }

 private:
  void Put(GuardAnswer answer) {
    {
      base::Lock lock(mu_);
      answers_.push_back(std::move(answer));
    }
    notify_();
  }

  Guards& guards_;
  const std::function<void()> notify_;
  base::Mutex mu_;
  std::vector<GuardAnswer> answers_ GUARDED_BY(mu_);
};

}  // namespace

std::shared_ptr<GuardInbox> GuardInbox::Make(Guards& guards, std::function<void()> notify) {
  return std::make_shared<Inbox>(guards, std::move(notify));
}

}  // namespace tollgate::pipeline
