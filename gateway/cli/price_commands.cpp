// prices: the installation's price book. A price is never changed; a newer one takes over from its moment on.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/directory.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Directory;

struct PriceOptions {
  std::string model;
  std::string input;
  std::string cached_input;
  std::string output;
  std::string currency;
  std::string from;
};

void Set(Context& context, const PriceOptions& options) {
  v1::SetPriceRequest request;
  request.set_model(options.model);
  request.set_input_per_1000(options.input);
  request.set_cached_input_per_1000(options.cached_input);
  request.set_output_per_1000(options.output);
  request.set_currency(options.currency);
  if (!options.from.empty()) {
    const auto from = context.Take(ParseTime(options.from, context.clock.Wall()));
    if (!from) return;
    request.set_effective_from_us(*from);
  }
  const auto line = Open(context, Listener::kAdmin);
  if (!line) return;
  v1::Price price;
  const grpc::Status status = Call<Directory>(context, *line, &Directory::Stub::SetPrice, request, price);
  if (!status.ok()) return Tell(context, status, Effect::kChanges);
  if (context.globals.json) {
    context.PrintJson(price);
  } else {
    context.Print(
        fmt::format("version {0} of the price book: {1} costs {3} {2} for 1,000 input tokens, {4} {2} for cached ones and {5} {2} for "
                    "1,000 output tokens "
                    "from {6} UTC on\n",
                    price.version(), price.model(), price.currency(), price.input_per_1000(), price.cached_input_per_1000(),
                    price.output_per_1000(), ShowTime(price.effective_from_us())));
  }
  WarnUnlessServed(context, *line, options.model, "the price waits for one that may come");
}

void List(Context& context, const PriceOptions& options) {
  v1::ListPricesRequest request;
  request.set_model(options.model);
  const auto reply =
      AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListPrices, request, [](const auto& r) { return r.prices_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"> version", "model", "from (UTC)", "> input/1000", "> cached/1000", "> output/1000", "currency"});
  for (const v1::Price& price : reply->prices()) {
    table.Add({std::to_string(price.version()), price.model(), ShowTime(price.effective_from_us()), price.input_per_1000(),
               price.cached_input_per_1000(), price.output_per_1000(), price.currency()});
  }
  context.Print(
      table.Text(fmt::format("no price: requests are refused until the model has one; tollgate prices set {} --input 0.10 --output 0.40",
                             options.model.empty() ? "MODEL" : options.model)));
}
}  // namespace

void AddPriceCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("prices", "The price book: what a model's tokens cost")->require_subcommand(1);
  Teach(*group,
        "The price in force when a request is admitted is the one it is charged at. A model without a price is refused, never free.",
        {"tollgate prices set smollm2 --input 0.10 --output 0.40", "tollgate prices list"});

  auto* set = group->add_subcommand("set", "Add a version of the price book");
  const auto set_options = std::make_shared<PriceOptions>();
  set->add_option("MODEL", set_options->model, "Name of the model")->required();
  set->add_option("--input", set_options->input, "For 1,000 prompt tokens, at most nine decimals")->required();
  set->add_option("--cached-input", set_options->cached_input, "For 1,000 prompt tokens from the cache; else as before, or as --input");
  set->add_option("--output", set_options->output, "For 1,000 output tokens")->required();
  set->add_option("--currency", set_options->currency, "ISO 4217; else as before, or EUR");
  set->add_option("--from", set_options->from, "From when: 2026-12-01; else from now");
  set->callback([&context, set_options] { Set(context, *set_options); });
  Teach(*set, "",
        {"tollgate prices set smollm2 --input 0.10 --output 0.40",
         "tollgate prices set smollm2 --input 0.08 --output 0.32 --from 2026-12-01"});

  auto* list = group->add_subcommand("list", "Every version, newest first");
  const auto list_options = std::make_shared<PriceOptions>();
  list->add_option("MODEL", list_options->model, "Only this model");
  list->callback([&context, list_options] { List(context, *list_options); });
  Teach(*list, "", {"tollgate prices list smollm2"});
}

}  // namespace tollgate::cli
