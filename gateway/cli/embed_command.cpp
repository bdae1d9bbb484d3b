// embed: vectors of texts, or documents ranked by a query (API listener). For trying a model; programs use the API.
//
// Tested by tests/gateway/cli/embed_test.cpp.
#include <iterator>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/context.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/embeddings.grpc.pb.h"

namespace tollgate::cli {
namespace {

struct EmbedOptions {
  std::vector<std::string> texts;
  std::string model, query, end_user;
  std::int32_t dimensions = 0, top = 0;
};

void Embed(Context& context, const EmbedOptions& options) {
  v1::EmbedRequest request;
  request.set_model(options.model);
  request.set_dimensions(options.dimensions);
  request.set_end_user(options.end_user);
  for (const std::string& text : options.texts) request.add_inputs()->set_text(text);
  const auto reply = Ask<v1::Embeddings>(context, Listener::kApi, &v1::Embeddings::Stub::Embed, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  for (const v1::Vector& vector : reply->vectors()) context.Print(fmt::format("{:.6f}\n", fmt::join(vector.values(), " ")));
}

void Rank(Context& context, const EmbedOptions& options) {
  v1::RerankRequest request;
  request.set_model(options.model);
  request.set_query(options.query);
  request.set_top_n(options.top);
  request.set_end_user(options.end_user);
  for (const std::string& text : options.texts) request.add_documents(text);
  const auto reply = Ask<v1::Embeddings>(context, Listener::kApi, &v1::Embeddings::Stub::Rerank, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  for (const v1::RankedDocument& result : reply->results())
    context.Print(fmt::format("{:.4f}  {}\n", result.relevance_score(), options.texts[static_cast<std::size_t>(result.index())]));
}

}  // namespace

void AddEmbedCommand(CLI::App& app, Context& context) {
  auto* embed = app.add_subcommand("embed", "Vectors of texts, a line each; or texts ranked by a query");
  const auto o = std::make_shared<EmbedOptions>();
  embed->add_option("TEXT", o->texts, "A text each")->required();
  embed->add_option("-m,--model", o->model, "The model, which must embed; with --query, rerank")->required();
  embed->add_option("--query", o->query, "Rank the texts by how well they answer this");
  embed->add_option("--top", o->top, "Of the ranked, only so many of the best")->check(CLI::NonNegativeNumber);
  embed->add_option("--dimensions", o->dimensions, "Only the first so many numbers, brought back to length 1")
      ->check(CLI::NonNegativeNumber);
  embed->add_option("--end-user", o->end_user, "The person behind the application; only an HMAC of it is kept");
  embed->callback([&context, o] { o->query.empty() ? Embed(context, *o) : Rank(context, *o); });
  Teach(*embed, "",
        {"tollgate embed -m bge \"The cat sat.\" \"A dog ran.\" --json",
         "tollgate embed -m bge-reranker --query \"Who sat?\" \"The cat sat.\" \"A dog ran.\""});
}

}  // namespace tollgate::cli
