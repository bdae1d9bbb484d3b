// What is around the requests: who is let in (inside.h), how they are counted and sent home.
// Tested by tests/gateway/pipeline/pipeline_test.cpp.
#include "gateway/pipeline/pipeline.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "audit/keys.h"
#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/breaker.h"
#include "gateway/pipeline/chat_request.h"
#include "gateway/pipeline/count.h"
#include "gateway/pipeline/embed_request.h"
#include "gateway/pipeline/inside.h"
#include "gateway/pipeline/route.h"
#include "gateway/pipeline/shared.h"
#include "gateway/pipeline/tool_prompt.h"
#include "gateway/pipeline/watch.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

struct Pipeline::Impl {
  explicit Impl(Collaborators c)
      : with(std::move(c)), refusals(std::make_shared<Refusals>(*with.journal, *with.clock)), started_s(StartedSeconds(*with.clock)) {}

  static std::int64_t StartedSeconds(const base::Clock& clock) { return base::ToMicros(clock.Wall()) / 1'000'000; }

  Collaborators with;
  std::shared_ptr<Refusals> refusals;
  std::int64_t started_s;
  std::shared_ptr<boost::asio::steady_timer> flush_timer;
  Breakers breakers{kGuardFailuresMax, kGuardRest};
  Shared shared{with, *refusals, with.breakers != nullptr ? *with.breakers : breakers};
  std::atomic<std::int64_t> requests{0}, answered{0}, failed{0}, continued{0}, overhead_us{0};

  Inside inside{with.options.running_max};

  // Lets a request in, runs it, and counts how it went. `make` gives the work of a principal for an event that wakes it, `take` the answer
  // of the work and its reply.
  template <typename Answer, typename Make, typename Take>
  async::Awaitable<Outcome<Answer>> Run(const Caller& caller, Cancellation& cancellation, Make make, Take take) {
    requests += 1;
    const auto executor = co_await boost::asio::this_coro::executor;
    async::Event event(executor);
    auto principal = Authenticate(with, caller);
    if (!principal.ok()) {
      failed += 1;
      co_return Refuse(caller, principal.status(), {});
    }
    auto place = inside.Enter(TenantOf(principal->place), event.Notifier());
    if (!place.ok()) {
      failed += 1;
      co_return Refuse(caller, place.status(), principal->place);
    }
    cancellation.OnCancel(event.Notifier());
    auto work = make(*std::move(principal), event);
    Outcome<Reply> outcome = co_await work->Run();
    while (std::optional<Continued> next = work->TakeNext()) {
      if (cancellation.cancelled() || shared.shutting_down) break;
      continued += 1;
      principal = Authenticate(with, caller);  // The key may have been revoked meanwhile.
      if (!principal.ok()) {
        outcome = Refuse(caller, principal.status(), {});
        break;
      }
      work = make(*std::move(principal), event);
      work->GoOnFor(*std::move(next));
      outcome = co_await work->Run();
    }
    cancellation.OnCancel(nullptr);
    Reply* reply = std::get_if<Reply>(&outcome);
    if (reply != nullptr) {
      answered += 1;
      overhead_us += reply->overhead_us;
    } else {
      failed += 1;
    }
    Outcome<Answer> answer =
        reply != nullptr ? Outcome<Answer>(take(*work, *reply)) : Outcome<Answer>(std::get<Failure>(std::move(outcome)));
    work.reset();
    inside.Leave(*place);
    co_return answer;
  }

  static async::Awaitable<void> FlushEverySecond(std::shared_ptr<Refusals> refusals, std::shared_ptr<boost::asio::steady_timer> timer) {
    for (;;) {
      timer->expires_after(std::chrono::seconds(1));
      boost::system::error_code error;
      co_await timer->async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, error));
      if (error) co_return;
      refusals->Flush(false);
    }
  }

  using AllHeard = absl::StatusOr<std::vector<policy::Heard>>;

  async::Awaitable<AllHeard> AskAbout(TextAsk ask, std::shared_ptr<Cancellation> cancellation) {
    const auto executor = co_await boost::asio::this_coro::executor;
    async::Event event(executor);
    auto place = inside.Enter(TenantOf(ask.who.place), event.Notifier());
    if (!place.ok()) co_return place.status();
    cancellation->OnCancel(event.Notifier());
    AllHeard heard = co_await AskAboutText(shared, ask, *cancellation, event);
    cancellation->OnCancel(nullptr);
    inside.Leave(*place);
    co_return heard;
  }

  // A call that is refused before it is a request.
  Failure Refuse(const Caller& caller, absl::Status status, const directory::Place& place) {
    const auto detail = base::DetailOf(status);
    refusals->Count(place, with.keys->SourceHmac(caller.source), detail ? detail->reason : "REFUSED");
    return Failure{.status = std::move(status)};
  }
};

Pipeline::Pipeline(Collaborators collaborators) : impl_(std::make_unique<Impl>(std::move(collaborators))) {
  impl_->flush_timer = std::make_shared<boost::asio::steady_timer>(impl_->with.io);
  boost::asio::co_spawn(impl_->with.io, Impl::FlushEverySecond(impl_->refusals, impl_->flush_timer), boost::asio::detached);
}

Pipeline::~Pipeline() {
  boost::asio::post(impl_->with.io, [timer = impl_->flush_timer] { timer->cancel(); });
}

Outcome<Tenant> Pipeline::Admit(const Caller& caller) {
  const auto principal = Authenticate(impl_->with, caller);
  if (principal.ok()) return TenantOf(principal->place);
  impl_->requests += 1;
  impl_->failed += 1;
  return impl_->Refuse(caller, principal.status(), {});
}

async::Awaitable<Outcome<Reply>> Pipeline::Chat(const Caller& caller, const v1::ChatRequest& request, StreamWriter* writer,
                                                std::shared_ptr<Cancellation> cancellation) {
  auto make = [&](identity::Principal principal, async::Event& event) {
    return std::make_unique<ChatRequest>(impl_->shared, caller, std::move(principal), request, writer, *cancellation, event);
  };
  auto take = [](ChatRequest& work, Reply& reply) {
    reply.room = work.room();
    return std::move(reply);
  };
  co_return co_await impl_->Run<Reply>(caller, *cancellation, make, take);
}

async::Awaitable<Outcome<EmbedAnswer>> Pipeline::Embed(const Caller& caller, const v1::EmbedRequest& request,
                                                       std::shared_ptr<Cancellation> cancellation) {
  const EmbedAsk ask = AskOf(request);
  auto make = [&](identity::Principal principal, async::Event& event) {
    return std::make_unique<EmbedRequest>(impl_->shared, caller, std::move(principal), ask, *cancellation, event);
  };
  auto take = [](EmbedRequest& work, Reply& reply) { return work.TakeVectors(reply); };
  co_return co_await impl_->Run<EmbedAnswer>(caller, *cancellation, make, take);
}

async::Awaitable<Outcome<RerankAnswer>> Pipeline::Rerank(const Caller& caller, const v1::RerankRequest& request,
                                                         std::shared_ptr<Cancellation> cancellation) {
  const EmbedAsk ask = AskOf(request);
  auto make = [&](identity::Principal principal, async::Event& event) {
    return std::make_unique<EmbedRequest>(impl_->shared, caller, std::move(principal), ask, *cancellation, event);
  };
  auto take = [](EmbedRequest& work, Reply& reply) { return work.TakeResults(reply); };
  co_return co_await impl_->Run<RerankAnswer>(caller, *cancellation, make, take);
}

async::Awaitable<Outcome<v1::CountTokensReply>> Pipeline::CountTokens(const Caller& caller, const v1::CountTokensRequest& request) {
  Impl& impl = *impl_;
  auto principal = Authenticate(impl.with, caller);
  if (!principal.ok()) co_return impl.Refuse(caller, principal.status(), {});
  const bool large = static_cast<std::int64_t>(request.ByteSizeLong()) >= impl.with.options.inspect_here_bytes;
  auto validate = [&] { return Validate(request, impl.with.options.limits); };
  absl::Status valid = co_await async::RunOnIf(large, impl.with.cpu, validate);
  if (!valid.ok()) co_return impl.Refuse(caller, std::move(valid), principal->place);
  auto route = RouteOf(impl.with, *principal, request.model(), caller.request_id, 1);
  if (!route.ok()) co_return impl.Refuse(caller, route.status(), principal->place);
  absl::Status chats = MustChat(route->model);
  if (!chats.ok()) co_return impl.Refuse(caller, std::move(chats), principal->place);
  const std::vector<metering::Scope> scopes = ScopesOf(principal->place);
  auto admission = impl.with.quotas->Admit(scopes);
  if (!admission.ok()) co_return impl.Refuse(caller, admission.status(), principal->place);
  absl::Status counted = co_await CountRequest(impl.with, *admission);
  if (!counted.ok()) co_return impl.Refuse(caller, std::move(counted), principal->place);
  auto place = impl.inside.Enter(TenantOf(principal->place), [] {});
  if (!place.ok()) co_return impl.Refuse(caller, place.status(), principal->place);
  auto prompt = co_await CountPrompt(impl.shared, *principal, caller.request_id, request, route->model);
  impl.inside.Leave(*place);
  if (!prompt.ok()) co_return impl.Refuse(caller, prompt.status(), principal->place);
  v1::CountTokensReply reply;
  reply.set_tokens(prompt->tokens);
  reply.set_context_tokens(prompt->context_tokens);
  co_return reply;
}

async::Awaitable<Outcome<v1::ListModelsReply>> Pipeline::ListModels(const Caller& caller) {
  Impl& impl = *impl_;
  auto principal = Authenticate(impl.with, caller);
  if (!principal.ok()) co_return impl.Refuse(caller, principal.status(), {});
  v1::ListModelsReply reply;
  for (const inference::ModelInfo& model : impl.with.pool->models()) {
    if (!principal->snapshot->MayUse(principal->place, model.name) || !Offers(impl.with, *principal->snapshot, model.name)) continue;
    v1::Model* out = reply.add_models();
    out->set_name(model.name);
    out->set_context_tokens(model.context_tokens);
    out->set_sha256(base::HexEncode(base::View(model.sha256)));
    out->set_licence(model.licence);
    out->set_serves(ServesOf(model));
    if (model.embeds()) out->set_dimensions(static_cast<std::int32_t>(model.dimensions));
  }
  AddAliases(impl.with, *principal, reply);
  for (v1::Model& model : *reply.mutable_models()) model.set_created(impl.started_s);
  co_return reply;
}

absl::StatusOr<std::vector<policy::Heard>> Pipeline::AskAbout(TextAsk ask, const std::function<absl::Status()>& keep_going) {
  constexpr std::chrono::milliseconds kLook{100};
  const auto cancellation = std::make_shared<Cancellation>();
  std::future<Impl::AllHeard> heard = boost::asio::co_spawn(boost::asio::make_strand(impl_->with.io),
                                                            impl_->AskAbout(std::move(ask), cancellation), boost::asio::use_future);
  while (heard.wait_for(kLook) != std::future_status::ready) {
    const absl::Status may = keep_going();
    if (may.ok()) continue;
    cancellation->Cancel();
    heard.wait_for(2 * kStopPatience);  // What runs is ended; a hung engine holds nobody up.
    return may;
  }
  return heard.get();
}

void Pipeline::StopAdmission(std::function<void()> when_empty) { impl_->inside.Close(std::move(when_empty)); }

void Pipeline::EndAll() {
  impl_->shared.shutting_down = true;
  impl_->inside.WakeAll();
}

std::int64_t Pipeline::running() const { return impl_->inside.size(); }
std::int64_t Pipeline::answer_bytes() const { return impl_->shared.answers.held(); }

void Pipeline::FlushRefusals() { impl_->refusals->Flush(true); }

Pipeline::Counts Pipeline::counts() const {
  return {impl_->requests.load(),    impl_->answered.load(),          impl_->failed.load(),          impl_->continued.load(),
          impl_->overhead_us.load(), impl_->shared.shadows.Of(false), impl_->shared.shadows.Of(true)};
}

}  // namespace tollgate::pipeline
