-- report.html of a run: one file that needs nothing else.  Tables and figures
-- of the run, curves of its metrics, configuration, environment, and all data
-- as JSON; light and dark by the reader's setting.
local sys = require "hwb.sys"
local hwb = require "hwb"
local records = require "hwb.records"
local text = require "hwb.text"
local M = {}

local entities = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;"}
local function escape(value) return (tostring(value):gsub("[&<>\"']", entities)) end

-- luacheck: push no max line length
local style = [[
:root{color-scheme:light dark;--fg:#1c2024;--bg:#fff;--line:#d5dae0;--dim:#5f6b76;--mark:#0072b2;--card:#f6f8fa}
@media (prefers-color-scheme:dark){:root{--fg:#e3e7eb;--bg:#14171a;--line:#343b42;--dim:#98a4af;--mark:#56b4e9;--card:#1c2126}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums;font-size:.92em}
th,td{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td.n,th.n{text-align:right}thead th{cursor:pointer;color:var(--dim)}
.scroll{overflow-x:auto}.dim{color:var(--dim)}pre,code{font:.9em ui-monospace,monospace}
pre{background:var(--card);padding:.7rem;overflow-x:auto;border-radius:4px}
figure{margin:1rem 0}figure>svg,figure>img{max-width:100%;height:auto;background:#fff;border-radius:4px}
.status-ok{color:#009e73}.status-failed,.status-killed{color:#d55e00}
svg.curve{background:none}svg.curve path{fill:none;stroke:var(--mark);stroke-width:1.5}svg.curve text{fill:var(--dim);font-size:11px}
svg.curve .axis{stroke:var(--line)}]]

-- A click on a head sorts by that column, numbers as numbers.
local script = [[
document.querySelectorAll("table.data").forEach(t=>t.querySelectorAll("thead th").forEach((h,c)=>h.addEventListener("click",()=>{
const b=t.tBodies[0],d=h.dataset.d=h.dataset.d==="1"?"-1":"1",v=r=>{const s=r.cells[c].dataset.v??r.cells[c].textContent,n=Number(s);return s!==""&&!Number.isNaN(n)?n:s};
[...b.rows].sort((x,y)=>{const p=v(x),q=v(y);return (p<q?-1:p>q?1:0)*Number(d)}).forEach(r=>b.append(r))})));]]
-- luacheck: pop

local function html_table(rows, columns)
  local out = {'<div class="scroll"><table class="data"><thead><tr>'}
  for _, column in ipairs(columns) do
    local numeric = type(rows[1] and rows[1][column]) == "number"
    out[#out + 1] = ("<th%s>%s</th>"):format(numeric and ' class="n"' or "", escape(column))
  end
  out[#out + 1] = "</tr></thead><tbody>"
  for _, row in ipairs(rows) do
    out[#out + 1] = "<tr>"
    for _, column in ipairs(columns) do
      local value = row[column]
      if type(value) == "number" then
        out[#out + 1] = ('<td class="n" data-v="%.17g">%s</td>'):format(value, escape(text.number(value)))
      elseif value == nil or value == hwb.json.null then out[#out + 1] = "<td></td>"
      else out[#out + 1] = ("<td>%s</td>"):format(escape(text.cell(value))) end
    end
    out[#out + 1] = "</tr>"
  end
  out[#out + 1] = "</tbody></table></div>"
  return table.concat(out)
end

local function pairs_table(value)
  local rows = {}
  for name, item in pairs(records.flatten(value)) do rows[#rows + 1] = {name = name, value = item} end
  table.sort(rows, function(a, b) return a.name < b.name end)
  return #rows > 0 and html_table(rows, {"name", "value"}) or '<p class="dim">none</p>'
end

-- One curve: values over steps, with the ends of both axes written out.
local function curve(name, points)
  local w, h, left, bottom = 460, 150, 64, 22
  local x0, x1, y0, y1 = math.huge, -math.huge, math.huge, -math.huge
  for _, p in ipairs(points) do
    x0, x1, y0, y1 = math.min(x0, p[1]), math.max(x1, p[1]), math.min(y0, p[2]), math.max(y1, p[2])
  end
  if x1 == x0 then x1 = x0 + 1 end
  if y1 == y0 then y0, y1 = y0 - 0.5, y1 + 0.5 end
  local path = {}
  for i, p in ipairs(points) do
    path[i] = ("%s%.1f %.1f"):format(i == 1 and "M" or "L", left + (w - left - 8) * (p[1] - x0) / (x1 - x0),
      8 + (h - bottom - 8) * (y1 - p[2]) / (y1 - y0))
  end
  return ([[<figure><figcaption>%s</figcaption><svg class="curve"
viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">
<line class="axis" x1="%d" y1="8" x2="%d" y2="%d"/><line class="axis" x1="%d" y1="%d" x2="%d" y2="%d"/>
<text x="%d" y="16" text-anchor="end">%s</text><text x="%d" y="%d" text-anchor="end">%s</text>
<text x="%d" y="%d">%s</text><text x="%d" y="%d" text-anchor="end">%s</text><path d="%s"/></svg></figure>]]):format(
    escape(name), w, h, w, h, escape(name), left, left, h - bottom, left, h - bottom, w - 8, h - bottom,
    left - 5, escape(text.number(y1)), left - 5, h - bottom, escape(text.number(y0)),
    left, h - 6, escape(text.number(x0)), w - 8, h - 6, escape(text.number(x1)), table.concat(path))
end

-- What tells the series of one metric apart: the texts in its row.
local function label_of(row)
  local texts = {}
  for _, value in pairs(row) do
    if type(value) == "string" then texts[#texts + 1] = value end
  end
  table.sort(texts)
  return #texts > 0 and " (" .. table.concat(texts, ", ") .. ")" or ""
end

local function metric_curves(metrics)
  local series, names = {}, {}
  for _, row in ipairs(metrics) do
    local label = label_of(row)
    for key, value in pairs(row) do
      if key ~= "step" and type(value) == "number" and type(row.step) == "number" then
        local name = key .. label
        if not series[name] then
          series[name] = {}
          names[#names + 1] = name
        end
        table.insert(series[name], {row.step, value})
      end
    end
  end
  table.sort(names)
  local out = {}
  for i, name in ipairs(names) do out[i] = curve(name, series[name]) end
  return table.concat(out, "\n")
end

-- Ids of an inlined figure get a prefix, so that two figures do not meet.
local function inline_svg(source, prefix)
  source = source:gsub("<%?xml.-%?>", ""):gsub("<!DOCTYPE.->", ""):gsub("<script.-</script>", "")
  source = source:gsub('id="([^"]+)"', 'id="' .. prefix .. '%1"'):gsub('href="#([^"]+)"', 'href="#' .. prefix .. '%1"')
  return (source:gsub("url%(#([^)]+)%)", "url(#" .. prefix .. "%1)"))
end

-- Files of the folder that hold figures and tables.
local function contents(dir)
  local figures, tables = {}, {}
  for _, name in ipairs(sys.list(dir) or {}) do
    local stem = name:match("^(.*)%.svg$")
    if stem then figures[#figures + 1] = {name = stem, svg = sys.read(dir .. "/" .. name)} end
    stem = name:match("^(.*)%.json$")
    if stem and stem ~= "run" and stem ~= "result" then
      local value = hwb.json.decode(sys.read(dir .. "/" .. name) or "")
      if type(value) == "table" and value.rows and value.columns then
        local columns = {}
        for i, column in ipairs(value.columns) do columns[i] = tostring(column) end
        tables[#tables + 1] = {name = stem, rows = value.rows, columns = columns}
      end
    end
  end
  return figures, tables
end

local function has_table(tables, name)
  for _, t in ipairs(tables) do
    if t.name == name then return true end
  end
  return false
end

local function environment(record)
  local rows = {{name = "host", value = record.host}, {name = "processor", value = record.cpu and record.cpu.model},
    {name = "threads", value = record.threads}, {name = "device", value = record.device},
    {name = "hwb", value = record.hwb.version .. (record.hwb.git and " " .. record.hwb.git.commit:sub(1, 12)
      .. (record.hwb.git.dirty and " with changes" or "") or "")},
    {name = "build", value = record.hwb.build and record.hwb.build.type .. ", " .. record.hwb.build.compiler}}
  for _, library in ipairs(record.libraries or {}) do rows[#rows + 1] = {name = library.name, value = library.run} end
  return html_table(rows, {"name", "value"})
end

-- The whole page for a run as records.read gives it.
function M.html(run)
  local record = run.record
  local figures, tables = contents(run.dir)
  local metrics = records.metrics(run.dir)
  local out = {}
  local function put(format, ...) out[#out + 1] = select("#", ...) > 0 and format:format(...) or format end
  put("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
  put("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>%s</title>", escape(run.name))
  out[#out + 1] = "<style>" .. style .. "</style></head><body>"
  put("<h1>%s</h1><p class=\"dim\">%s &middot; <span class=\"status-%s\">%s</span>"
    .. " &middot; started %s%s &middot; seed %s</p>",
    escape(record.recipe), escape(run.name), escape(record.status), escape(record.status),
    escape((tostring(record.start):gsub("%.%d+", ""))),
    record.seconds and " &middot; " .. escape(text.duration(record.seconds)) or "", escape(record.seed))
  if record.error then put("<pre>%s</pre>", escape(record.error)) end
  local words = {}
  for i, word in ipairs(record.argv or {}) do words[i] = word:find("[^%w_./=-]") and "'" .. word .. "'" or word end
  put("<h2>Command</h2><pre>%s</pre>", escape(table.concat(words, " ")))
  put("<h2>Result</h2>")
  local singles, lists = records.parts(run.result)
  out[#out + 1] = pairs_table(singles)
  for _, list in ipairs(lists) do -- those that are no table of the run already
    if not has_table(tables, list.name) then
      tables[#tables + 1] = {name = list.name, rows = list.rows, columns = text.columns(list.rows)}
    end
  end
  if #tables > 0 then put("<h2>Tables</h2>") end
  for _, t in ipairs(tables) do
    put("<h3>%s</h3>", escape(t.name))
    out[#out + 1] = html_table(t.rows, t.columns)
  end
  if #figures > 0 then put("<h2>Figures</h2>") end
  for i, figure in ipairs(figures) do
    out[#out + 1] = "<figure>" .. inline_svg(figure.svg or "", "f" .. i .. "-")
    put("<figcaption class=\"dim\">%s</figcaption></figure>", escape(figure.name))
  end
  if #metrics > 0 then
    put("<h2>Metrics</h2>")
    out[#out + 1] = metric_curves(metrics)
  end
  put("<h2>Configuration</h2>")
  out[#out + 1] = pairs_table(record.args)
  put("<h2>Environment</h2>")
  out[#out + 1] = environment(record)
  if record.files and #record.files > 0 then
    put("<h2>Files</h2>")
    out[#out + 1] = html_table(record.files, {"name", "size", "sha256"})
  end
  local source = sys.read(run.dir .. "/recipe.lua")
  if source then
    put("<h2>Recipe</h2><details><summary>sha256 %s</summary><pre>", escape(record.sha256 or ""))
    out[#out + 1] = escape(source) .. "</pre></details>"
  end
  local data = hwb.json.encode{schema = 1, run = record, result = run.result, metrics = hwb.json.array(metrics)}
  out[#out + 1] = '<script type="application/json" id="hwb-data">' .. data:gsub("<", "\\u003c") .. "</script>"
  out[#out + 1] = "<script>" .. script .. "</script></body></html>\n"
  return table.concat(out, "\n")
end

return M
