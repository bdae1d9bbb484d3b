// The request that fails looks for the next fallback before its terminal record, which names the request that will go on; the one that
// goes on looks again, by the directory of its own time, and may find a later one. What refuses it before it is on record, and is of its
// model, is no answer to the caller, who got the failure before: the next one has its turn under the same id, since no record bears it.
// Tested by tests/gateway/pipeline/fallback_test.cpp.
#include <utility>

#include <fmt/format.h>

#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/fallback.h"
#include "gateway/pipeline/request.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

void Request::GoOnFor(Continued before) {
  before_.emplace(std::move(before));
  who_.request = before_->request;
  deadline_ = before_->deadline;
  admission_ = std::move(before_->admission);
  counted_ = std::move(before_->counted);
  head_.request_id = who_.request.ToString();
}

std::optional<Continued> Request::TakeNext() { return std::exchange(next_, std::nullopt); }

// The model that its name, or alias, leads to; of one that goes on for another, the next fallback.
absl::Status Request::FindModel() {
  std::string why;
  std::optional<Route> route;
  if (!before_) {
    TG_ASSIGN(route, RouteOf(with_, principal_, call_.model(), who_.request, SequencesAsked()));
  } else {
    route = NextFallback(before_->left, why);
    if (!route) return base::NotFound(why);
    route->told += "; after=" + before_->model;
  }
  model_ = std::move(route->model);
  told_route_ = std::move(route->told);
  fallbacks_ = std::move(route->fallbacks);
  return absl::OkStatus();
}

std::optional<Route> Request::NextFallback(const Fallbacks& left, std::string& why) const {
  const auto fits = [this](const inference::ModelInfo& model) { return Fits(model); };
  return NextRoute(with_, principal_, left, fits, SequencesAsked(), why);
}

bool Request::MayGoOn() const {
  return fallbacks_.next < fallbacks_.models.size() && !cancellation_.cancelled() && !shared_.shutting_down &&
         steady_clock::now() < deadline_;
}

// Before its terminal record, which says that a request goes on for it; where none can, its error says why.
void Request::FindNext(v1::EndBody& end, Ending& ending) {
  const bool begun = end.tokens().output() > 0;
  if (begun || !IsOfTheModel(ending) || !routed_by_.empty() || !approvals_.empty() || !MayGoOn()) return;
  Fallbacks left = fallbacks_;
  left.tried.push_back(model_.name);
  std::string why;
  if (const std::optional<Route> route = NextFallback(left, why)) {
    left.next = route->fallbacks.next - 1;
    next_.emplace();
    next_->request = base::RequestId::New();
    next_->before = who_.request;
    next_->model = model_.name;
    next_->left = std::move(left);
    end.set_continued_as(next_->request.Bytes());
  } else if (!why.empty()) {
    ending.status = WithWhy(ending.status, fmt::format("no fallback of {} can take it: {}", left.alias, why));
  }
}

// Behind its terminal record: what the one that goes on takes from it.
Failure Request::HandOver(Failure failure) {
  if (!next_) return failure;
  next_->failure = failure;
  next_->began = steady_clock::now();
  next_->deadline = deadline_;
  next_->overhead_us = OverheadUs();
  next_->admission = std::move(admission_);
  next_->counted = std::move(counted_);
  return failure;
}

// A fallback that cannot take it: nothing is on record of that, and the caller gets what failed before, unless another can.
Failure Request::PassOn(const absl::Status& refusal) {
  const std::string why = base::Message(refusal);
  before_->failure.status = WithWhy(before_->failure.status, model_.name.empty() ? why : fmt::format("{}: {}", model_.name, why));
  const Failure failure = before_->failure;
  if (MayGoOn()) {
    before_->left = std::move(fallbacks_);
    before_->left.tried.push_back(model_.name);
    before_->admission = std::move(admission_);
    before_->counted = std::move(counted_);
    next_ = std::exchange(before_, std::nullopt);
  }
  return failure;
}

}  // namespace tollgate::pipeline
