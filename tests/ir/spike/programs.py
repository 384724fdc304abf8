"""Neurons of the dialect as programs of `spike.program`."""

LIF = """
states v
parameters tau, r, v_leak, v_threshold
away = sub v_leak v
drive = mul r current
away = add away drive
away = div away tau
v = add v away
spike = gt v v_threshold
v = select spike 0 v
"""
ADAPTIVE = """
states v, h
parameters tau, r, v_leak, v_threshold, tau_adapt, beta
away = sub 0 h          # toward 0, with nothing added
away = add away 0
away = div away tau_adapt
h = add h away
away = sub v_leak v
drive = mul r current
away = add away drive
away = div away tau
v = add v away
theta = add v_threshold h
spike = ge v theta
left = sub v theta
v = select spike left v
jump = mul spike beta
h = add h jump
"""
_SUBSTEP = """
slope = mul 0.04 v
slope = mul slope v
linear = mul 5 v
slope = add slope linear
slope = add slope 140
slope = sub slope u
slope = add slope current
rise = mul part slope
v = add v rise
"""
IZHIKEVICH = f"""
states v, u
parameters a, b, c, d, dt
part = div dt 2
{_SUBSTEP}
{_SUBSTEP}
slope = mul b v
slope = sub slope u
pace = mul dt a
rise = mul pace slope
u = add u rise
spike = ge v 30
v = select spike c v
jump = mul spike d
u = add u jump
"""
LOIHI = """
states v, u
parameters current_decay, voltage_decay, threshold, bias
lost = add current_decay 1
u = decay u lost
charge = shift current 6
u = add u charge
u = shift u 40          # 24 bits
u = shift u -40
v = decay v voltage_decay
v = add v u
v = add v bias
v = min v 8388607
v = max v -8388607
theta = shift threshold 6
spike = gt v theta
v = select spike 0 v
"""
