// An inbox belongs to whoever asks and to every question that is out, so that an answer which comes after its asker has gone falls into no
// hole. What a shape answers is answered at once.
//
// Tested by tests/gateway/pipeline/questions_test.cpp.
#include "gateway/pipeline/questions.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "base/mutex.h"

namespace tollgate::pipeline {
namespace {

constexpr std::size_t kJudgedHereBytes = 256;  // A shape may have thousands of values to compare each of a text's with.

// What asks nobody: a reply so far breaks a shape if nothing of that shape begins so.
QuestionAnswer ByShape(const QuestionAsk& ask) {
  const std::string text = TextOf(ask.messages->front());
  QuestionAnswer out;
  out.answer.id = ask.question.id;
  const policy::ReplyShape& shape = *ask.question.shape;
  if (ask.last || !shape.MayBecome(text)) out.category = shape.Breaks(text);
  out.answer.hit = !out.category.empty();
  if (out.answer.hit) out.answer.measured = shape.Measured(text);
  return out;
}

class Inbox final : public QuestionInbox {
 public:
  Inbox(Answerers& answerers, boost::asio::any_io_executor cpu, std::function<void()> notify)
      : answerers_(answerers), cpu_(std::move(cpu)), notify_(std::move(notify)) {}

  void Ask(QuestionAsk ask) override {
    auto put = [self = shared_from_this()](QuestionAnswer answer) { static_cast<Inbox&>(*self).Put(std::move(answer)); };
    if (ask.question.shape == nullptr) return answerers_.Ask(std::move(ask), std::move(put));
    if (!ask.last || TextOf(ask.messages->front()).size() < kJudgedHereBytes) return put(ByShape(ask));
    boost::asio::post(cpu_, [ask = std::move(ask), put = std::move(put)] { put(ByShape(ask)); });
  }

  std::vector<QuestionAnswer> Take() override {
    base::Lock lock(mu_);
    return std::exchange(answers_, {});
  }

 private:
  void Put(QuestionAnswer answer) {
    {
      base::Lock lock(mu_);
      answers_.push_back(std::move(answer));
    }
    notify_();
  }

  Answerers& answerers_;
  const boost::asio::any_io_executor cpu_;
  const std::function<void()> notify_;
  base::Mutex mu_;
  std::vector<QuestionAnswer> answers_ GUARDED_BY(mu_);
};

}  // namespace

std::shared_ptr<QuestionInbox> QuestionInbox::Make(Answerers& answerers, boost::asio::any_io_executor cpu, std::function<void()> notify) {
  return std::make_shared<Inbox>(answerers, std::move(cpu), std::move(notify));
}

}  // namespace tollgate::pipeline
