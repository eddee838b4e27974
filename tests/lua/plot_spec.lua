describe("hwb.plot", function()
  local plot = hwb.plot
  local nan = 0 / 0

  -- The text elements of an SVG: {text = {x=, y=}}.
  local function texts(svg)
    local out = {}
    for attributes, body in svg:gmatch("<text([^>]*)>(.-)</text>") do
      local x, y = attributes:match(' x="([^"]+)"'), attributes:match(' y="([^"]+)"')
      out[body:gsub("<.->", "")] = {x = tonumber(x), y = tonumber(y)}
    end
    return out
  end

  -- Width, height and bytes per pixel row of a PNG.
  local function png_size(bytes)
    assert.equal("\137PNG\r\n\26\n", bytes:sub(1, 8))
    return string.unpack(">I4I4", bytes, 17)
  end

  local function ramp(n, f)
    local out = {}
    for i = 1, n do out[i] = f and f(i) or i end
    return out
  end

  it("draws a line with names, scale and legend", function()
    local fig = plot.line{x = ramp(50), y = ramp(50, function(i) return math.exp(-i / 10) end), label = "train",
      title = "Training", xlabel = "epoch", ylabel = "loss", yscale = "log"}
    local t = texts(fig:svg())
    for _, name in ipairs{"Training", "epoch", "loss", "train", "0.01", "0.1", "50"} do
      assert.truthy(t[name], name)
    end
    assert.is_true(t["0.1"].y < t["0.01"].y)
    assert.is_true(t["10"].x < t["50"].x)
    -- the decades stand evenly
    local x_lo, x_hi, y_lo, y_hi = fig:view()
    assert.is_true(x_lo < 1 and x_hi > 50 and y_lo < math.exp(-5) and y_lo > 0 and y_hi > math.exp(-0.1))
  end)

  it("gives PNG of the size asked for, SVG text, and files of both", function()
    local fig = plot.figure{width = 4, height = 2.5, dpi = 100}
    fig:line{y = {1, 2, 3}}
    local w, h = png_size(fig:png())
    assert.same({400, 250}, {w, h})
    w, h = png_size(plot.line{y = {1, 2}, width = 3, height = 2, dpi = 50, linewidth = 2}:png())
    assert.same({150, 100}, {w, h})
    local name = os.tmpname()
    for _, ending in ipairs{".png", ".svg"} do
      assert.is_true(fig:save(name .. ending))
      local file = assert(io.open(name .. ending, "rb"))
      assert.equal(ending == ".png" and fig:png() or fig:svg(), file:read("a"))
      file:close()
      os.remove(name .. ending)
    end
    os.remove(name)
    local ok, message, code = fig:save("/nonexistent/folder/x.png")
    assert.is_nil(ok)
    assert.matches("/nonexistent/folder/x.png: No such file", message, 1, true)
    assert.equal("EIO", code)
  end)

  it("gives the same bytes for the same figure", function()
    local function make()
      return plot.contour{z = {{1, 2, 3}, {2, 4, 1}, {0, 1, 5}}, label = "loss", title = "t"}
    end
    assert.equal(make():png(), make():png())
    assert.equal(make():svg(), make():svg())
  end)

  it("adds to a figure, its twin and its panels, and chains", function()
    local fig = plot.figure{rows = 2, cols = 2, title = "all"}
    assert.equal(fig, fig:line{y = {1, 2}, title = "first"})
    local panel = fig:panel(2, 2)
    assert.equal(panel, panel:scatter{x = {1, 2}, y = {3, 4}, title = "last"}:hline{y = 3.5}:vline{x = 1.5})
    panel:twin{ylabel = "right"}:line{y = {100, 200}}
    panel:annotate{x = 1, y = 3, text = "here", dx = 10, dy = 10, arrow = true}
    local t = texts(fig:svg())
    for _, name in ipairs{"all", "first", "last", "right", "here"} do assert.truthy(t[name], name) end
    assert.is_true(t.last.x > t.first.x and t.last.y > t.first.y)
    assert.equal(fig:panel(2, 2), panel)
  end)

  it("takes several series at once, with shared options", function()
    local fig = plot.line{{y = {1, 2}, label = "one"}, {y = {2, 1}, label = "two"}, dash = "dashed", title = "both"}
    local t = texts(fig:svg())
    assert.truthy(t.one and t.two and t.both)
  end)

  it("draws every kind, empty ones too", function()
    local y = ramp(9, function(i) return i == 4 and nan or i == 5 and math.huge or i end)
    local z = {{1, 2, nan}, {3, 4, 5}}
    for _, fig in ipairs{
      plot.line{y = y, band = {y, y}, err = y, step = true}, plot.scatter{x = y, y = y, text = ramp(9, tostring)},
      plot.bars{names = {"a", "b"}, values = {{1, 2}, {3, nan}}, labels = {"x", "y"}, err = {{1, 1}, {1, 1}}},
      plot.bars{x = {"a", "b"}, y = {1, 2}, horizontal = true, numbers = true, label = "l", color = 3},
      plot.hist{values = y, bins = 4}, plot.hist{x = y, log = true, density = true},
      plot.density{nodes = {0, 1}, weights = {1, 1}},
      plot.density{nodes = {{0, 1}, {2}}, weights = {{1, 1}, {3}}, yscale = "linear"},
      plot.heatmap{z = z, rows = {"r", "s"}, cols = {2, 4, 8}, numbers = true, log = true},
      plot.contour{z = z, levels = {2, 3}, fill = false}, plot.contour{z = z, levels = 4, colormap = "diverging"},
      plot.line{y = {}}, plot.scatter{y = {}}, plot.bars{values = {}}, plot.hist{values = {}},
      plot.density{nodes = {}, weights = {}}, plot.heatmap{z = {}}, plot.contour{z = {}}, plot.figure(),
    } do
      assert.equal("</svg>\n", fig:svg():sub(-7))
      png_size(fig:png())
      assert.truthy(fig:text(60, 15))
    end
  end)

  it("names the option it does not know", function()
    assert.has_error(function() plot.line{y = {1}, colour = "red"} end, "plot.line: unknown option 'colour'")
    local fig = plot.figure()
    for kind, name in pairs{line = "nodes", bars = "yerr", hist = "bin", density = "sigmas", heatmap = "levels",
      contour = "numbers"} do
      local ok, message = pcall(fig[kind], fig, {[name] = 1})
      assert.is_false(ok)
      assert.matches(("plot.%s: unknown option '%s'"):format(kind, name), message, 1, true)
    end
    assert.has_error(function() plot.figure{sizes = 3} end, "plot.figure: unknown option 'sizes'")
    assert.has_error(function() fig:text(80, 24, {wide = true}) end, "fig:text: unknown option 'wide'")
    assert.has_error(function() plot.show(fig, {kind = "x"}) end, "plot.show: unknown option 'kind'")
  end)

  it("raises misuse where it happens, with the numbers", function()
    local fig = plot.figure()
    local cases = {
      {function() fig:line{x = {1, 2}, y = {1}} end, "x has 2 values, y 1"},
      {function() fig:line{} end, "y is missing"},
      {function() fig:line{y = {1, "a"}} end, "y[2]: a number, not a string"},
      {function() fig:line{y = {1, 2}, band = {{1}, {2, 3}}} end, "band_lo has 1 values, the data 2"},
      {function() fig:line{y = {1}, color = "mauve"} end, "'mauve' is no colour"},
      {function() fig:line{y = {1}, marker = "blob"} end, "'blob' is none of none, circle"},
      {function() fig:line{y = {1}, xscale = "symlog"} end, "xscale: 'symlog' is none of linear, log"},
      {function() fig:line{y = {1}, ylim = {2, 2}} end, "both limits are 2"},
      {function() fig:bars{values = {1, 2}, names = {"a"}} end, "1 names for 2 bars"},
      {function() fig:bars{values = {{1, 2}, {1}}} end, "group 2 has 1 values, the first 2"},
      {function() fig:heatmap{z = {{1, 2}, {3}}} end, "row 2 of z has 1 values, the first 2"},
      {function() fig:density{nodes = {1, 2}, weights = {1}} end, "2 nodes, 1 weights"},
      {function() fig:density{nodes = {1}, weights = {-1}} end, "weight -1"},
      {function() fig:panel(2, 1) end, "no panel 2, 1 in a grid of 1 x 1"},
      {function() fig.save("x.png") end, "with a colon: fig:save"},
      {function() fig:save("x.pdf") end, ".png or .svg"},
      {function() plot.show(3) end, "a figure, not a number"},
    }
    for _, case in ipairs(cases) do
      local ok, message = pcall(case[1])
      assert.is_false(ok)
      assert.matches(case[2], message, 1, true)
      assert.matches("plot_spec.lua:%d+: ", message)
    end
  end)

  it("leaves the caller's tables alone", function()
    local options = {y = {1, 2}, x = {3, 4}, color = "red", marker = "o", label = 7, title = "t"}
    plot.line(options)
    assert.same({y = {1, 2}, x = {3, 4}, color = "red", marker = "o", label = 7, title = "t"}, options)
    local bars = {values = {1, 2}, names = {2, 4}}
    plot.bars(bars)
    assert.same({values = {1, 2}, names = {2, 4}}, bars)
  end)

  it("keeps its classes out of reach", function()
    local fig = plot.figure()
    assert.is_nil(fig.__index)
    assert.is_false(getmetatable(fig))
    assert.is_false(getmetatable(fig:panel(1, 1)))
    assert.matches("hwb.figure", tostring(fig), 1, true)
  end)

  it("draws in characters", function()
    local fig = plot.line{y = ramp(30), title = "rise", label = "l"}
    local lines = {}
    for line in fig:text(50, 14):gmatch("[^\n]*") do lines[#lines + 1] = line end
    for _, line in ipairs(lines) do assert.is_true(utf8.len(line) <= 50) end
    assert.matches("rise", lines[1], 1, true)
    assert.is_nil(fig:text(50, 14):find("\27", 1, true))
    assert.truthy(fig:text(50, 14, {color = true}):find("\27[38;2;0;114;178m", 1, true))
    assert.is_nil(fig:text(50, 14, {ascii = true}):find("[^\n -~]"))
  end)

  it("accepts tensors", function()
    if not rawget(hwb, "tensor") then pending("this build has no tensors") return end
    local x = hwb.tensor{1, 2, 3}
    local fig = plot.line{x = x, y = x, band = {x, x}}
    assert.equal(plot.line{x = {1, 2, 3}, y = {1, 2, 3}, band = {{1, 2, 3}, {1, 2, 3}}}:svg(), fig:svg())
    assert.equal(plot.heatmap{z = {{1, 2}, {3, 4}}}:svg(), plot.heatmap{z = hwb.tensor{{1, 2}, {3, 4}}}:svg())
  end)

  it("keeps no memory of figures that are gone", function()
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 200 do plot.line{y = ramp(100)}:text(40, 10) end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 200)
  end)

  it("names the axis of a histogram, and counts whole categories, rows and columns", function()
    local function words(fig) return (fig:svg():gsub("<[^>]*>", " ")) end
    assert.matches("count", words(hwb.plot.hist{values = {1, 2, 2, 3}}), 1, true)
    assert.matches("density", words(hwb.plot.hist{values = {1, 2, 2, 3}, density = true}), 1, true)
    assert.is_nil(words(hwb.plot.hist{values = {1, 2, 2, 3}, ylabel = "weights"}):find("count", 1, true))
    assert.is_nil(words(hwb.plot.bars{values = {10, 20, 30}}):find("1.5", 1, true))
    local z = {}
    for r = 1, 12 do z[r] = {r, 2 * r, 3 * r} end
    assert.is_nil(words(hwb.plot.heatmap{z = z, colorbar = false}):find(".5", 1, true))
  end)
end)
