// A settlement is a pure function of the REQUEST record and the final counts, so that a crash's recovery, which has nothing else, makes the
// same rows as the request itself would have. Every price is at least a nano a token: an amount of tokens is never 0, and a transfer exists
// exactly where there were tokens.
//
// Tested by tests/metering/books_test.cpp.
#include "metering/books.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {
namespace {

constexpr std::int64_t kPer = 1'000;                                // Prices are for 1,000 tokens.
constexpr std::string_view kTeam = "team", kPlatform = "platform";  // Accounts.
constexpr std::size_t kModelMax = 200;

base::Value IdValue(const std::string& bytes) {
  if (bytes.size() != 16) return std::monostate{};
  return base::Blob{bytes};
}

std::string LeaseBytes(const v1::RequestBody& body) {
  std::string out;
  for (const std::int32_t lease : body.leases()) base::AppendBigEndian(out, static_cast<std::uint32_t>(lease), 4);
  return out;
}

std::int64_t AttemptOf(const v1::Record& request) { return std::max<std::uint32_t>(request.attempt(), 1); }

// Tokens of one kind: a request's own (part 0), or those of a guard model.
struct Part {
  std::int64_t number = 0;
  const v1::PinnedPrice& price;
  const v1::TokenCounts& tokens;
  std::string model, model_requested;
};

base::Companion TransferRow(const v1::Record& request, base::WallTime at, base::Money amount, const Part& part) {
  const v1::PinnedPrice& price = part.price;
  const v1::TokenCounts& tokens = part.tokens;
  return {
      &TransferTable(),
      {IdValue(request.request_id()), AttemptOf(request), part.number, std::int64_t{0}, std::string(part.number == 0 ? "usage" : "guard"),
       base::ToMicros(at), amount.nanos, std::int64_t{price.version()}, std::int64_t{tokens.input() - tokens.cached_input()},
       std::int64_t{tokens.cached_input()}, std::int64_t{tokens.output()}, std::int64_t{tokens.discarded()}, IdValue(request.org_id()),
       IdValue(request.team_id()), price.currency(), std::string(kTeam), std::string(kPlatform)}};
}

absl::Status AddRows(const v1::Record& request, base::WallTime at, const Part& part, std::vector<base::Companion>& rows) {
  const v1::RequestBody& body = request.request();
  TG_ASSIGN(const base::Money amount, AmountOf(part.price, part.tokens));
  rows.push_back({&UsageTable(),
                  {IdValue(request.request_id()),
                   AttemptOf(request),
                   part.number,
                   base::ToMicros(at),
                   IdValue(request.org_id()),
                   IdValue(request.team_id()),
                   IdValue(request.project_id()),
                   IdValue(request.key_id()),
                   std::int64_t{part.tokens.input()},
                   std::int64_t{part.tokens.cached_input()},
                   std::int64_t{part.tokens.output()},
                   std::int64_t{part.tokens.discarded()},
                   std::int64_t{part.tokens.delivered()},
                   std::int64_t{part.price.version()},
                   amount.nanos,
                   std::int64_t{body.epoch()},
                   part.price.currency(),
                   part.model,
                   base::Blob{request.end_user_hmac()},
                   base::Blob{LeaseBytes(body)},
                   part.model_requested}});
  if (amount.nanos > 0) rows.push_back(TransferRow(request, at, amount, part));
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const Price& price) {
  if (price.version < 1) return base::InvalidArgument(fmt::format("price version {} is below 1", price.version));
  if (price.model.empty() || price.model.size() > kModelMax) {
    return base::InvalidArgument(fmt::format("a price needs the name of its model, of at most {} bytes", kModelMax));
  }
  const std::pair<std::string_view, std::int64_t> rates[] = {
      {"input", price.input_nanos_per_1000}, {"cached input", price.cached_input_nanos_per_1000}, {"output", price.output_nanos_per_1000}};
  for (const auto& [kind, nanos] : rates) {
    if (nanos < Price::kNanosMin || nanos > Price::kNanosMax) {
      return base::InvalidArgument(fmt::format("the {} price of {} is {} for 1,000 tokens; it must be from {} to {}: no token is free",
                                               kind, price.model, base::FormatMoney({nanos}), base::FormatMoney({Price::kNanosMin}),
                                               base::FormatMoney({Price::kNanosMax})));
    }
  }
  const bool iso =
      price.currency.size() == 3 && std::all_of(price.currency.begin(), price.currency.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  if (!iso) return base::InvalidArgument(fmt::format("the currency of {} must be three capitals, as EUR", price.model));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const PriceBook>> PriceBook::Make(std::vector<Price> prices) {
  auto book = std::make_shared<PriceBook>();
  std::set<std::int64_t> versions;
  for (Price& price : prices) {
    TG_RETURN_IF_ERROR(Validate(price));
    if (!versions.insert(price.version).second) return base::InvalidArgument(fmt::format("two prices have the version {}", price.version));
    book->by_model_[price.model].push_back(std::move(price));
  }
  for (auto& [model, list] : book->by_model_) {
    std::sort(list.begin(), list.end(), [](const Price& a, const Price& b) {
      return std::pair(a.effective_from, a.version) < std::pair(b.effective_from, b.version);
    });
  }
  return std::shared_ptr<const PriceBook>(std::move(book));
}

absl::StatusOr<v1::PinnedPrice> PriceBook::PriceAt(std::string_view model, base::WallTime at) const {
  const auto found = by_model_.find(model);
  const Price* price = nullptr;
  if (found != by_model_.end()) {
    for (const Price& p : found->second) {
      if (p.effective_from <= at) price = &p;
    }
  }
  if (price == nullptr) {
    return base::WithDetail(
        base::FailedPrecondition(
            fmt::format("model {} has no price in force; set one: tollgate prices set {} --input 0.10 --output 0.40", model, model)),
        {.reason = "MODEL_UNPRICED", .param = "model", .may_retry = false});
  }
  v1::PinnedPrice pinned;
  pinned.set_version(price->version);
  pinned.set_input_nanos_per_1000(price->input_nanos_per_1000);
  pinned.set_cached_input_nanos_per_1000(price->cached_input_nanos_per_1000);
  pinned.set_output_nanos_per_1000(price->output_nanos_per_1000);
  pinned.set_currency(price->currency);
  return pinned;
}

absl::StatusOr<base::Money> AmountOf(const v1::PinnedPrice& price, const v1::TokenCounts& tokens) {
  if (tokens.input() < 0 || tokens.cached_input() < 0 || tokens.output() < 0 || tokens.delivered() < 0 ||
      tokens.cached_input() > tokens.input() || tokens.delivered() > tokens.output() || tokens.discarded() < 0 ||
      tokens.discarded() > tokens.output()) {
    return base::Internal(fmt::format("token counts that cannot be: input {}, cached {}, output {}, delivered {}, discarded {}",
                                      tokens.input(), tokens.cached_input(), tokens.output(), tokens.delivered(), tokens.discarded()));
  }
  TG_ASSIGN(const base::Money input, base::PriceOf(tokens.input() - tokens.cached_input(), {price.input_nanos_per_1000()}, kPer));
  TG_ASSIGN(const base::Money cached, base::PriceOf(tokens.cached_input(), {price.cached_input_nanos_per_1000()}, kPer));
  TG_ASSIGN(const base::Money output, base::PriceOf(tokens.output(), {price.output_nanos_per_1000()}, kPer));
  TG_ASSIGN(const base::Money prompt, base::Add(input, cached));
  return base::Add(prompt, output);
}

absl::StatusOr<std::vector<base::Companion>> Settlement(const v1::Record& request, base::WallTime at, const v1::TokenCounts& tokens) {
  const v1::RequestBody& body = request.request();
  if (!request.has_request() || request.request_id().size() != 16) return base::Internal("a settlement needs the REQUEST record");
  if (body.price().version() < 1) return base::Internal("a REQUEST record without a pinned price cannot be settled");
  std::vector<base::Companion> rows;
  TG_RETURN_IF_ERROR(AddRows(request, at, {0, body.price(), tokens, body.model(), body.model_requested()}, rows));
  return rows;
}

absl::StatusOr<std::vector<base::Companion>> Settlement(const v1::Record& request, base::WallTime at, const v1::EndBody& end) {
  TG_ASSIGN(std::vector<base::Companion> rows, Settlement(request, at, end.tokens()));
  std::int64_t part = 0;
  for (const v1::GuardUsage& guard : end.guard_usage())
    TG_RETURN_IF_ERROR(AddRows(request, at, {++part, guard.price(), guard.tokens(), guard.model(), ""}, rows));
  return rows;
}

absl::Status FillAmounts(const v1::PinnedPrice& price, v1::EndBody& end) {
  TG_ASSIGN(const base::Money amount, AmountOf(price, end.tokens()));
  end.set_amount_nanos(amount.nanos);
  for (v1::GuardUsage& guard : *end.mutable_guard_usage()) {
    TG_ASSIGN(const base::Money its, AmountOf(guard.price(), guard.tokens()));
    guard.set_amount_nanos(its.nanos);
  }
  return absl::OkStatus();
}

v1::TokenCounts AllTokens(const v1::EndBody& end) {
  v1::TokenCounts all = end.tokens();
  for (const v1::GuardUsage& guard : end.guard_usage()) {
    all.set_input(all.input() + guard.tokens().input());
    all.set_output(all.output() + guard.tokens().output());
  }
  return all;
}

const base::CompanionTable& UsageTable() {
  static const base::CompanionTable& table = *new base::CompanionTable{"metering.usage",
                                                                       {{"request_id", "uuid"},
                                                                        {"attempt", "int2"},
                                                                        {"part", "int2"},
                                                                        {"at_us", "int8"},
                                                                        {"org_id", "uuid"},
                                                                        {"team_id", "uuid"},
                                                                        {"project_id", "uuid"},
                                                                        {"key_id", "uuid"},
                                                                        {"input_tokens", "int4"},
                                                                        {"cached_input_tokens", "int4"},
                                                                        {"output_tokens", "int4"},
                                                                        {"discarded_tokens", "int4"},
                                                                        {"delivered_tokens", "int4"},
                                                                        {"price_version", "int4"},
                                                                        {"amount_nanos", "int8"},
                                                                        {"epoch", "int8"},
                                                                        {"currency", "text"},
                                                                        {"model", "text"},
                                                                        {"end_user_hmac", "bytea"},
                                                                        {"leases", "bytea"},
                                                                        {"model_requested", "text"}},
                                                                       "log_id",
                                                                       "leaf_index"};
  return table;
}

const base::CompanionTable& TransferTable() {
  static const base::CompanionTable& table = *new base::CompanionTable{"metering.transfer",
                                                                       {{"request_id", "uuid"},
                                                                        {"attempt", "int2"},
                                                                        {"part", "int2"},
                                                                        {"entry", "int2"},
                                                                        {"kind", "text"},
                                                                        {"at_us", "int8"},
                                                                        {"amount_nanos", "int8"},
                                                                        {"price_version", "int4"},
                                                                        {"input_tokens", "int4"},
                                                                        {"cached_input_tokens", "int4"},
                                                                        {"output_tokens", "int4"},
                                                                        {"discarded_tokens", "int4"},
                                                                        {"org_id", "uuid"},
                                                                        {"team_id", "uuid"},
                                                                        {"currency", "text"},
                                                                        {"debit", "text"},
                                                                        {"credit", "text"}}};
  return table;
}

}  // namespace tollgate::metering
